"""The experiment, step by step, each stored when it is done."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vanfast._files import write_json
from vanfast.errors import FileFormatError
from vanfast.exact import kaufman
from vanfast.hamiltonians import IsingSquare
from vanfast.mcmc import ChainObservables, Chains, measure_series, run
from vanfast.mcmc.neural import mixed
from vanfast.plots import need_matplotlib
from vanfast.reproduce.nnsm.curves import CURVES, Curve
from vanfast.reproduce.nnsm.distributions import compare
from vanfast.reproduce.nnsm.figures import figure_3, figure_4
from vanfast.reproduce.nnsm.settings import Settings
from vanfast.sampler import Sampler
from vanfast.training import FitRun, fit

_CRITICAL = 2.0 / math.log(1.0 + math.sqrt(2.0))  # temperature of the infinite lattice's transition
_RESULTS = "results.json"
_BURN_IN = 100  # sweeps of Wolff's algorithm, each of as many clusters as turn N spins
# each with a seed of its own, so that nothing shares random words
_USES = _DATA, _TRUTH, _CHAINS, _DRAWN = range(4)


def reproduce(
    out: str | os.PathLike[str],
    settings: Settings | None = None,
    *,
    threads: int | None = None,
    progress: bool | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Experiment:
    """Runs the experiment into the directory `out`: results.json, figure3.png, figure4.png, a fit for every curve.

    Every temperature is stored when it is done: a run that was stopped goes on where it was, and a later one may add
    curves and temperatures. Results depend on the settings alone, not on threads.

    Args:
        settings: None for the paper's.
        threads: CPU threads, None for all.
        progress: progress bars of the fits; None shows them on a terminal.
        say: gets lines of news.

    Raises:
        TypeError, ValueError: settings out of range, or others than those of the experiment that `out` holds.
        MissingDependency: no matplotlib for the figures.
        FileFormatError: `out` holds a results.json that is none of this experiment's.
    """
    need_matplotlib()
    chosen = (settings or Settings()).checked()
    experiment = Experiment(Path(out), chosen, threads, progress, say)
    experiment.go()
    return experiment


@dataclass
class Experiment:
    """The experiment so far; `results` is what results.json says.

    results: "truth" and, for every curve in "curves", "points": by temperature (as text) a dict of averages and errors.
    """

    out: Path
    settings: Settings
    threads: int | None
    progress: bool | None
    say: Callable[[str], None]
    results: dict[str, Any] = field(default_factory=dict)

    def go(self) -> None:
        self._open()
        for T in self.settings.temperatures:
            self._truth(T)
        for name in self.settings.curves:
            self._curve(CURVES[name])
        self.results["distances"] = {name: self.distances(name) for name in self.results["curves"]}
        self._save()
        figure_3(self.out / "figure3.png", self.results, self.settings.T0)
        figure_4(self.out / "figure4.png", self.results, self.settings.T0)

    @property
    def files(self) -> list[Path]:
        return [self.out / name for name in (_RESULTS, "figure3.png", "figure4.png", "fits")]

    def distances(self, name: str) -> dict[str, float]:
        """How far a curve is from the true one of what it measures: the largest and the mean absolute difference over
        the temperatures of |m|, and of the energy per site where spins are measured."""
        points, truth = self.results["curves"][name]["points"], self.results["truth"]
        found: dict[str, float] = {}
        for key in ("abs_magnetization", "energy_per_site"):
            true = CURVES[name].true_key(key)
            gaps = [abs(point[key] - truth[T][true]) for T, point in points.items() if key in point and T in truth]
            if gaps:
                found |= {f"{key}_largest": max(gaps), f"{key}_mean": sum(gaps) / len(gaps)}
        return found

    @cached_property
    def ham(self) -> IsingSquare:
        return IsingSquare(self.settings.L)

    @cached_property
    def data(self) -> np.ndarray:
        """The measured configurations, int8 [samples, N]."""
        s = self.settings
        self.say(f"measuring {s.samples:,} configurations at T0 = {s.T0:g}")
        return self._wolff(s.T0, s.samples, 1, _DATA).spins[:, 0]

    def _wolff(self, T: float, chains: int, sweeps: int, use: int) -> Chains:
        return run(
            self.ham,
            1 / T,
            chains=chains,
            sweeps=sweeps,
            burn_in=_BURN_IN,
            algorithm="wolff",
            seed=self._seed(use),
            threads=self.threads,
        )

    def _seed(self, use: int) -> int:
        return len(_USES) * self.settings.seed + use

    def _open(self) -> None:
        """A fresh directory, or what one of the same settings holds."""
        path, settings = self.out / _RESULTS, self.settings.to_json()
        if not path.exists():
            self.results = {"experiment": "nnsm", "settings": settings, "truth": {}, "curves": {}}
            self.out.mkdir(parents=True, exist_ok=True)
            self._save()
            return
        try:
            self.results = json.loads(path.read_text(encoding="utf-8"))
            known = self.results["experiment"] == "nnsm"
            before, _, _ = (dict(self.results[part]) for part in ("settings", "truth", "curves"))
        except (ValueError, KeyError, TypeError):
            known = False
        if not known:
            raise FileFormatError(f"{path} holds no results of this experiment: give another directory")
        for name, value in settings.items():
            if before.get(name) != value:
                raise ValueError(
                    f"{name} = {value!r}, but the experiment in {self.out} has {name} = {before.get(name)!r}: "
                    "give another directory"
                )

    def _save(self) -> None:
        write_json(self.out / _RESULTS, self.results)

    def _truth(self, T: float) -> None:
        """Chains of the true Hamiltonian: |m| of spins and of sums of blocks, energy."""
        if key_of(T) in self.results["truth"]:
            return
        chains = self._wolff(T, self.settings.chains, self.settings.sweeps, _TRUTH)
        spins = chains.spins.reshape(-1, self.ham.num_sites)
        energy = self._measure(CURVES["spins"], chains.spins, chains.energy, T).energy.per_site(self.ham.num_sites)
        point = {"energy_per_site": energy.value, "energy_per_site_error": energy.error}
        for curve in CURVES.values():
            key = curve.true_key("abs_magnetization")
            if key not in point:
                rows = curve.observe(spins, self.settings.L).reshape(*chains.energy.shape, -1)
                point[key], point[f"{key}_error"] = self._measure(curve, rows, chains.energy, T).abs_magnetization
        self.results["truth"][key_of(T)] = point
        self._save()
        self.say(f"T = {T:g}: |m| = {point['abs_magnetization']:.4f}, E/N = {point['energy_per_site']:.4f}")

    def _measure(self, curve: Curve, observed: np.ndarray, energy: np.ndarray, T: float) -> ChainObservables:
        """Averages at T of what a curve measures, int8 [chains, draws, .], with energies float64 [chains, draws]."""
        return measure_series(energy, curve.magnetization(observed), 1 / T, self.ham.num_sites)

    def _curve(self, curve: Curve) -> None:
        s = self.settings
        entry = self.results["curves"].setdefault(curve.name, {"points": {}})
        missing = [T for T in s.temperatures if key_of(T) not in entry["points"]]
        if not missing and "energies" in entry:
            return
        self.say(f"{curve.label}: fitting")
        fitted = self._fit(curve)
        entry["fit"] = self._describe(curve, fitted)
        self.say(
            f"{curve.label}: {entry['fit']['num_parameters']:,} parameters, best of {fitted.epoch} epochs "
            f"{fitted.best_epoch}, held out -<ln q> = {fitted.best_loss:.3f}"
        )
        if "energies" not in entry:
            entry["energies"] = self._energies(curve, fitted)
            self._save()
        for T in missing:
            point = self._point(curve, fitted, T)
            entry["points"][key_of(T)] = point
            self._save()
            true = self.results["truth"][key_of(T)][curve.true_key("abs_magnetization")]
            self.say(f"{curve.label}, T = {T:g}: |m| = {point['abs_magnetization']:.4f}, true {true:.4f}")

    def _fit(self, curve: Curve) -> FitRun:
        s = self.settings
        return fit(
            curve.network(s.L, s.hidden, s.seed),
            curve.observe(self.data, s.L),
            s.epochs,
            s.batch,
            seed=s.seed,
            patience=s.patience,
            learning_rate=s.learning_rate,
            schedule="cosine",
            threads=self.threads,
            out=self.out / "fits" / curve.name,
            resume=True,
            progress=self.progress,
        )

    def _describe(self, curve: Curve, fitted: FitRun) -> dict[str, Any]:
        values = {
            "network": type(fitted.net).__name__,
            "hidden": list(getattr(fitted.net, "hidden", ())),
            "num_parameters": fitted.net.num_parameters(),
            "epochs": fitted.epoch,
            "best_epoch": fitted.best_epoch,
            "loss": fitted.history[-1].loss,
            "validation_loss": fitted.best_loss,
        }
        if curve.stride is None:
            values["entropy"] = kaufman(self.settings.L, 1 / self.settings.T0).entropy
        return values

    def _energies(self, curve: Curve, fitted: FitRun) -> dict[str, Any]:
        """Distributions at T0 of what was measured and of what the network draws: of H = -T0 ln p, and of the true
        energy where spins are measured."""
        s = self.settings
        sampler = Sampler(fitted.net, self.ham if curve.stride is None else None, threads=self.threads)
        drawn = sampler.sample(s.samples, seed=self._seed(_DRAWN))
        learned = curve.hamiltonian(fitted.net, s.T0, s.L)
        found = {"learnt": compare(learned.energy(curve.observe(self.data, s.L)), -s.T0 * drawn.log_q.numpy())}
        if drawn.energy is not None:
            found["true"] = compare(self.ham.energy(self.data), drawn.energy.numpy())
        return found

    def _point(self, curve: Curve, fitted: FitRun, T: float) -> dict[str, float]:
        """Chains of the learnt Hamiltonian at T: single sites, and now and then the network's own proposals, which near
        T0 cross what single sites are slow at. They start ordered below the transition, else from configurations of the
        network, which are in equilibrium at T0."""
        s = self.settings
        chains = mixed(
            Sampler(fitted.net, curve.hamiltonian(fitted.net, s.T0, s.L), threads=self.threads),
            1 / T,
            local_sweeps=s.thin,
            algorithm="heat_bath" if curve.stride is None else "metropolis",
            chains=s.chains,
            steps=s.sweeps // s.thin,
            burn_in=s.burn_in // s.thin,
            seed=self._seed(_CHAINS),
            start=curve.ordered(s.L) if T < _CRITICAL else None,
        )
        found = self._measure(curve, chains.spins, chains.energy, T)
        point = {"geweke": found.geweke, "tau": found.tau_magnetization.value, "acceptance": chains.acceptance}
        point["abs_magnetization"], point["abs_magnetization_error"] = found.abs_magnetization
        point["learnt_energy_per_site"], point["learnt_energy_per_site_error"] = found.energy.per_site(
            self.ham.num_sites
        )
        if curve.stride is None:
            energy = self.ham.energy(chains.spins.reshape(-1, self.ham.num_sites)).reshape(chains.energy.shape)
            true = self._measure(curve, chains.spins, energy, T).energy.per_site(self.ham.num_sites)
            point["energy_per_site"], point["energy_per_site_error"] = true
        return {key: value for key, value in point.items() if math.isfinite(value)}


def key_of(T: float) -> str:
    """A temperature as results name it: short where that is exact."""
    return f"{T:g}" if float(f"{T:g}") == T else repr(T)
