"""Systems by name, as the command line asks for them."""

import inspect

import numpy as np
import pytest

from vanfast import hamiltonians as H


@pytest.mark.parametrize(
    ("name", "arguments", "kind", "shape"),
    [
        ("ising-square", {"L": 4, "coupling": -1.0}, H.IsingSquare, (4, 4)),
        ("ising-square", {"shape": (2, 3), "boundary": "open"}, H.IsingSquare, (2, 3)),
        ("ising-triangular", {"L": 3}, H.IsingTriangular, (3, 3)),
        ("ising-cubic", {"L": 3}, H.IsingCubic, (3, 3, 3)),
        ("edwards-anderson", {"L": 4, "disorder": "gaussian", "seed": 3}, H.EdwardsAnderson, (4, 4)),
        ("edwards-anderson", {"shape": (2, 3, 4)}, H.EdwardsAnderson, (2, 3, 4)),
        ("sherrington-kirkpatrick", {"N": 7}, H.SherringtonKirkpatrick, (7,)),
        ("sk", {"N": 7, "seed": 2}, H.SherringtonKirkpatrick, (7,)),
        ("hopfield", {"N": 20, "P": 2, "orthogonal": True}, H.Hopfield, (20,)),
        ("curie-weiss", {"N": 5, "h": 0.1}, H.CurieWeiss, (5,)),
    ],
)
def test_names(name, arguments, kind, shape) -> None:
    ham = H.from_name(name, **arguments)
    assert type(ham) is kind
    assert ham.shape == shape
    assert name in H.names()
    assert set(arguments) <= set(H.parameters(name))


def test_hopfield_patterns_are_drawn() -> None:
    np.testing.assert_array_equal(H.from_name("hopfield", N=9, P=3, seed=4).patterns, H.random_patterns(3, 9, seed=4))


def test_parameters_tell_what_is_required() -> None:
    assert H.parameters("sk") == {"N": inspect.Parameter.empty, "seed": 1}
    assert H.parameters("ising-square")["L"] is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: H.from_name("heisenberg"),
            "unknown system 'heisenberg', known are curie-weiss, edwards-anderson, hopfield",
        ),
        (lambda: H.from_name("sk", N=5, beta=1.0), "sk has no argument 'beta', it takes N, seed"),
        (lambda: H.from_name("curie-weiss", J=1.0), "curie-weiss needs N"),
        (lambda: H.from_name("edwards-anderson"), "give either L or shape"),
        (
            lambda: H.from_config({"class": "Heisenberg"}),
            r"config\['class'\] must be one of IsingSquare, .*, not 'Heisenberg'",
        ),
        (lambda: H.from_config({"class": "IsingSquare", "sides": 4}), "config of IsingSquare does not fit"),
        (
            lambda: H.from_config({"class": "Hopfield", "patterns": {"array": "patterns"}}),
            "config refers to the array 'patterns', which arrays does not hold",
        ),
    ],
)
def test_wrong_names_and_configs(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()
