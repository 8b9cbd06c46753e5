"""What does not fit is refused with a message that names it, by functions and by operations."""

import pytest
import torch

import vanfast as vf
from vanfast.ops import description


@pytest.fixture
def call(dense, spins):
    """log_prob as an operation, with some arguments replaced."""

    def call(**changes):
        arguments = {
            "parameters": [parameter.detach() for parameter in dense.parameters()],
            "network": description.of_network(dense),
            "spins": spins,
            "precision": "fp32",
        }
        return torch.ops.vanfast.log_prob(**(arguments | changes))

    return call


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "network is not JSON"),
        ("{" * 10**5, "network is not JSON"),
        ("[1]", "network must be a JSON object with a 'class'"),
        ('{"N":6}', "network must be a JSON object with a 'class'"),
        ('{"class":"Nothing","N":6}', "'class' is one of BernoulliMixture"),
        ('{"class":"Dense","N":6,"colour":1}', "does not describe a network: .*colour"),
        ('{"class":"Dense","N":0}', "N = 0 must be an integer >= 1"),
        ('{"class":"Dense","N":"6"}', "N = '6' must be an integer"),
    ],
)
def test_texts_that_describe_no_network(call, dense, text, message):
    with pytest.raises(ValueError, match=message):
        call(network=text)
    with pytest.raises(ValueError, match=message):
        torch.ops.vanfast.sample(list(dense.parameters()), text, 3, 0, 0, "fp32")


def test_parameters_that_do_not_fit(call, dense):
    good = [parameter.detach() for parameter in dense.parameters()]
    with pytest.raises(ValueError, match="parameters is empty"):
        call(parameters=[])
    with pytest.raises(ValueError, match=r"parameters has 2 tensors, this Dense has steps.0.layer.weight \[12, 6\], "):
        call(parameters=good[:2])
    with pytest.raises(
        ValueError, match=r"parameters\[0\], which is steps.0.layer.weight of a Dense, has shape \[6, 12\]"
    ):
        call(parameters=[good[0].T, *good[1:]])
    with pytest.raises(
        ValueError, match=r"parameters\[1\].* is torch.float64 on cpu, but parameters\[0\] is torch.float32"
    ):
        call(parameters=[good[0], good[1].double(), *good[2:]])
    with pytest.raises(ValueError, match=r"parameters\[0\] is torch.float16, must be torch.float32 or torch.float64"):
        call(parameters=[parameter.half() for parameter in good])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("double", [False, True], ids=["float32", "float64"])
def test_parameters_that_are_not_finite(dense, spins, value, double):
    vf.ops.log_prob(dense, spins)  # an engine with good parameters is there
    net = dense.double() if double else dense
    with torch.no_grad():
        net.steps[0].layer.weight[3, 2] = value
    with pytest.raises(FloatingPointError, match=r"steps.0.layer.weight holds values that are not finite"):
        vf.ops.log_prob(net, spins)
    if not double:
        with pytest.raises(FloatingPointError, match="not finite"):
            vf.ops.sample(net, 3)
        with torch.no_grad():
            net.steps[0].layer.weight[3, 2] = 0
        vf.ops.sample(net, 3)


def test_spins_that_do_not_fit(dense, spins, ham):
    functions = [lambda s: vf.ops.log_prob(dense, s), lambda s: vf.ops.energy(ham, s)]
    functions += [lambda s: vf.ops.log_prob(dense.double(), s)]
    bad = spins.clone()
    bad[4, 2] = 0
    for function in functions:
        with pytest.raises(ValueError, match=r"found 0 at configuration 4, site 2"):
            function(bad)
        with pytest.raises(ValueError, match=r"found -?1\.5 at configuration 0, site 0"):
            function(spins[:1] * 1.5)
        with pytest.raises(ValueError, match=r"shape \[23, 5\], expected \[6\]"):
            function(spins[:, :5])
        with pytest.raises(ValueError, match=r"shape \[1, 4\], expected"):
            function(spins[0, :4])
        with pytest.raises(TypeError, match="must hold the numbers"):
            function(spins > 0)


def test_spins_of_the_backward_operation_are_checked_too(dense, spins):
    arguments = [p.detach() for p in dense.parameters()], description.of_network(dense)
    with pytest.raises(ValueError, match="found 0"):
        torch.ops.vanfast.log_prob_backward(*arguments, 0 * spins, torch.ones(23, dtype=torch.float64), "fp32")


def test_numbers_that_do_not_fit(dense):
    with pytest.raises(ValueError, match=r"count = -1 must be in \[0"):
        vf.ops.sample(dense, -1)
    for name in ("seed", "first"):
        for value in (-1, 2**64):
            with pytest.raises(ValueError, match=f"{name} = {value} must be in"):
                vf.ops.sample(dense, 1, **{name: value})
        for value in (1.0, True, "1"):
            with pytest.raises(TypeError, match=f"{name} = {value!r} must be an integer"):
                vf.ops.sample(dense, 1, **{name: value})
    with pytest.raises(TypeError, match=r"count = 1.5 must be an integer"):
        vf.ops.sample(dense, 1.5)
    with pytest.raises(ValueError, match="goes past the last sample index"):
        vf.ops.sample(dense, 2, first=2**64 - 1)


def test_precisions_and_networks_that_the_engine_refuses(dense, spins):
    with pytest.raises(ValueError, match="precision = 'fp8' must be one of"):
        vf.ops.sample(dense, 2, precision="fp8")
    with pytest.raises(ValueError, match="tf32 exists on GPUs only"):
        vf.ops.log_prob(dense, spins, precision="tf32")
    with pytest.raises(ValueError, match="a mixture has no matrix products"):
        vf.ops.sample(vf.networks.Factorised(6), 2, precision="bf16")
    for function in (lambda: vf.ops.sample(dense, 2), lambda: vf.ops.log_prob(dense, spins, precision="bf16")):
        dense.double()
        with pytest.raises(ValueError, match=r"its parameters are torch.float64"):
            function()


def test_things_that_are_no_network_and_no_hamiltonian(dense, spins):
    with pytest.raises(TypeError, match=r"net must be a vanfast.networks.Network, got Linear"):
        vf.ops.sample(torch.nn.Linear(2, 2), 1)
    with pytest.raises(TypeError, match=r"ham must be a vanfast.hamiltonians.Hamiltonian, got Dense"):
        vf.ops.energy(dense, spins)


def test_systems_that_do_not_fit(spins):
    pairwise = '{"class":"Pairwise","couplings":{"array":"couplings"},"edges":{"array":"edges"},"num_sites":6}'
    edges, couplings = torch.tensor([[0, 1]]), torch.ones(1, dtype=torch.float64)
    with pytest.raises(ValueError, match="arrays has 1 tensors, hamiltonian names couplings, edges"):
        torch.ops.vanfast.energy([couplings], pairwise, spins)
    with pytest.raises(ValueError, match="does not describe a Hamiltonian: couplings has shape"):
        torch.ops.vanfast.energy([torch.ones(2, dtype=torch.float64), edges], pairwise, spins)
    with pytest.raises(ValueError, match="hamiltonian is not JSON"):
        torch.ops.vanfast.energy([], "nonsense", spins)
    with pytest.raises(ValueError, match="must be one of IsingSquare"):
        torch.ops.vanfast.energy([], '{"class":"Nothing"}', spins)
