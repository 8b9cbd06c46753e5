"""Figures: what is drawn in them, that pyplot stays untouched, and what is refused."""

import math
import sys

import numpy as np
import pytest
import torch

matplotlib = pytest.importorskip("matplotlib")
from matplotlib.figure import Figure  # noqa: E402

from vanfast import plots  # noqa: E402
from vanfast.training import StepRecord  # noqa: E402


def history(count=50):
    return [
        StepRecord(
            step=t,
            beta=0.5 * (1 - 0.8**t),
            rung=0,
            loss=0.0,
            free_energy_per_site=-2 + 1 / (t + 1) if t else math.nan,
            free_energy_std_per_site=0.1,
            energy_per_site=-1.0,
            entropy_per_site=0.3,
            ess=0.5,
            gradient_norm=1.0,
            learning_rate=1e-3,
            sample_seconds=0.1,
            step_seconds=0.2,
        )
        for t in range(count)
    ]


def axes():
    return Figure().subplots()


def test_training_curve_shows_mean_band_and_exact_value():
    a = axes()
    plots.training_curve(a, history(), lambda beta: -2.0)
    network, exact = a.get_lines()
    assert network.get_xdata().tolist() == list(range(2, 51))  # the first step has beta 0 and no free energy
    assert network.get_ydata()[0] == pytest.approx(-1.5)
    assert set(exact.get_ydata()) == {-2.0}
    assert len(a.collections) == 1
    assert [text.get_text() for text in a.get_legend().get_texts()] == [
        "± one standard deviation of a sample",
        "network",
        "exact",
    ]
    low, high = a.get_ylim()
    assert low < -2.08 < -1.9 < high


def test_training_curve_without_exact_value_or_history():
    a = axes()
    plots.training_curve(a, history(), lambda beta: None)
    assert len(a.get_lines()) == 1
    with pytest.raises(ValueError, match="history must hold"):
        plots.training_curve(axes(), history(1))


def test_convergence_is_the_distance_from_the_exact_value():
    a = axes()
    plots.convergence(a, history(), lambda beta: -2.0)
    spread, excess = a.get_lines()
    assert set(spread.get_ydata()) == {0.1}
    expected = np.mean([1 / (t + 1) for t in range(46, 50)])
    assert excess.get_ydata()[-1] == pytest.approx(expected)
    assert a.get_yscale() == "log"


def test_histogram_has_a_bar_for_every_energy_level():
    a = axes()
    energies = torch.tensor([-2.0, -2.0, -1.0, -1.0, -1.0, 0.5])
    plots.energy_histogram(a, energies, weights=np.array([1.0, 1, 0, 0, 0, 0]), exact=-1.2)
    heights = [bar.get_height() for bar in a.patches[:3]]
    assert sum(patch.get_height() for patch in a.containers[0]) == pytest.approx(1.0)
    assert heights[0] == pytest.approx(2 / 6)
    labels = [text.get_text() for text in a.get_legend().get_texts()]
    assert labels == ["network", "reweighted", "exact mean"]
    plots.energy_histogram(axes(), np.random.default_rng(0).normal(size=1000))


def test_configurations_fill_the_panels():
    panels = Figure().subplots(1, 2)
    spins = torch.tensor([[1, -1, 1, 1, -1, -1], [1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]], dtype=torch.int8)
    plots.configurations(panels, spins, (2, 3))
    assert panels[0].get_images()[0].get_array().tolist() == [[1, -1, 1], [1, -1, -1]]


@pytest.mark.parametrize(("ending", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_summary_figure_is_written_without_pyplot(tmp_path, ending, start):
    before = "matplotlib.pyplot" in sys.modules, matplotlib.rcParams["font.size"]
    spins = torch.ones((8, 16), dtype=torch.int8)
    path = plots.summary_figure(tmp_path / f"f.{ending}", history(), spins, torch.zeros(20) - 1.5, (4, 4), title="β")
    assert path.read_bytes().startswith(start)
    assert before == ("matplotlib.pyplot" in sys.modules, matplotlib.rcParams["font.size"])


def test_overlaps_are_shown_as_density_and_landscape(tmp_path):
    from vanfast.observables import overlap_distribution

    spins = np.where(np.random.default_rng(3).random((60, 8)) < 0.5, 1, -1)
    distribution = overlap_distribution(spins, 8)
    a = axes()
    plots.overlap_density(a, {"one": distribution, "two": distribution}, bins=6)
    assert [text.get_text() for text in a.get_legend().get_texts()] == ["one", "two"]
    np.testing.assert_allclose(a.get_lines()[0].get_ydata(), distribution.density(6)[1].value)
    with pytest.raises(ValueError, match="curves must hold at least one distribution"):
        plots.overlap_density(axes(), {})
    overlap, log_q = np.array([[0.1, 0.2], [-0.5, 0.3], [0.0, 1.0]]), np.array([-3.0, -1.0, -2.0])
    points = plots.overlap_landscape(axes(), overlap, log_q)
    np.testing.assert_array_equal(points.get_offsets(), overlap[[0, 2, 1]])  # the likeliest is drawn last
    np.testing.assert_array_equal(points.get_array(), [-3, -2, -1])
    path = plots.overlaps_figure(tmp_path / "q.svg", {"one": distribution}, {"a": (overlap, log_q)})
    assert path.read_text().startswith("<?xml")
