"""The cases of `vanfast bench` for pytest-benchmark: `pytest bench --benchmark-only`.

Each case is checked against the float64 forward pass before it is timed.
"""

import pytest
import torch

from vanfast import Sampler
from vanfast.benchmarks import CASES


@pytest.mark.parametrize("name", CASES)
def test_sampling(benchmark, name):
    torch.manual_seed(0)
    case = CASES[name]
    net = case.build()
    sampler = Sampler(net, backend="cpu", precision=case.precision)
    few = sampler.sample(8, seed=1)
    with torch.no_grad():
        error = (few.log_q - net.log_prob(few.spins)).abs().max()
    assert error < (1e-3 if case.precision == "fp32" else 0.5)
    benchmark.extra_info["batch"] = case.batch
    benchmark(sampler.program.sample, case.batch, 0, 0)


@pytest.mark.parametrize("name", [name for name in CASES if not name.endswith(("bf16", "z2"))])
def test_training_step(benchmark, name):
    torch.manual_seed(0)
    case = CASES[name]
    net = case.build()
    sampler = Sampler(net, backend="cpu", precision=case.precision)
    weight = torch.randn(case.batch, dtype=torch.float64)

    def step():
        net.zero_grad()
        net.add_gradient(sampler.sample_and_keep(case.batch).gradient(weight))

    benchmark(step)
