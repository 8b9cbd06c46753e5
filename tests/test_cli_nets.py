"""The network that a command line describes."""

import argparse

import pytest

from vanfast.cli.nets import add_network_options, network_of
from vanfast.hamiltonians import IsingSquare, SherringtonKirkpatrick


def network(words, ham, beta=0.4):
    parser = argparse.ArgumentParser()
    add_network_options(parser)
    return network_of(parser.parse_args(words.split()), ham, default_seed=3, beta=beta)


@pytest.mark.parametrize("name", ["pixelcnn", "dense", "made"])
def test_a_prior_is_that_of_the_system_and_the_first_beta(name):
    ham = IsingSquare(L=4)
    net = network(f"--net {name} --prior star --z2", ham)
    assert (net.prior.ham, net.prior.beta) == (ham, 0.4)
    assert network(f"--net {name}", ham).prior is None


@pytest.mark.parametrize("name", ["sk", "factorised", "mixture"])
def test_other_networks_take_no_prior(name):
    with pytest.raises(ValueError, match=f"--net {name} does not take --prior; it takes"):
        network(f"--net {name} --prior star", SherringtonKirkpatrick(5))
