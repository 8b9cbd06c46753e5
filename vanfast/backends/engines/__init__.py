"""Engines: one network shape in one precision on one device, launched from Python. `base` says what an engine is."""
