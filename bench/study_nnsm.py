"""`vanfast reproduce nnsm` with its defaults (arXiv:2007.01037, Figs. 3 and 4), into bench/results.

--out is the experiment's own directory, which it goes on in, or which it takes the results from when they are there.
"""

from __future__ import annotations

import shutil
from typing import Any

from study import RESULTS, arguments, report

from vanfast.reproduce.nnsm import CURVES, Settings, reproduce


def main() -> None:
    options = arguments(__doc__ or "", out="nnsm", threads=2)
    experiment = reproduce(options.out, Settings(), threads=options.threads, say=lambda line: print(line, flush=True))
    results = experiment.results
    rows = [row(name, T, point, results) for name, curve in results["curves"].items() for T, point in points(curve)]
    fits = {
        name: curve["fit"] | results["distances"][name] | {f"P({kind})": p["kolmogorov"] for kind, p in energies(curve)}
        for name, curve in results["curves"].items()
    }
    averages = [
        f"{name} {whose}{error}" for name in ("|m|", "E/N") for whose in ("true", "learnt") for error in ("", " ±")
    ]
    columns = ["curve", "T", *averages, "Geweke", "acceptance"]
    report("nnsm", results["settings"] | {"curves": fits}, columns, rows)
    for number in (3, 4):
        shutil.copy(experiment.out / f"figure{number}.png", RESULTS / f"nnsm_figure{number}.png")


def points(curve: dict[str, Any]) -> list[tuple[str, dict[str, float]]]:
    return sorted(curve["points"].items(), key=lambda item: float(item[0]))


def energies(curve: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return list(curve["energies"].items())


def row(name: str, T: str, point: dict[str, float], results: dict[str, Any]) -> list[Any]:
    truth, key = results["truth"][T], CURVES[name].true_key("abs_magnetization")
    size = [truth[key], truth[f"{key}_error"], point["abs_magnetization"], point["abs_magnetization_error"]]
    energy = [
        *(truth[name] for name in ("energy_per_site", "energy_per_site_error")),
        *(point.get(name) for name in ("energy_per_site", "energy_per_site_error")),
    ]
    return [name, float(T), *size, *energy, point.get("geweke"), point["acceptance"]]


if __name__ == "__main__":
    main()
