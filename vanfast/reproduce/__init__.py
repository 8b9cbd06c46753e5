"""Experiments of the papers, a folder each: data, figures and the distances between curves, by one call."""
