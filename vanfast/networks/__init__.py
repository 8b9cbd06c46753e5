"""Autoregressive networks: exact distributions over spins, evaluated in logits and drawn site by site."""

from __future__ import annotations

from vanfast.networks.base import Network
from vanfast.networks.dense import Dense
from vanfast.networks.made import MADE
from vanfast.networks.mixture import BernoulliMixture, Factorised
from vanfast.networks.pixelcnn import PixelCNN
from vanfast.networks.plan import (
    ConvLayer,
    ConvPlan,
    MagnetizationPlan,
    MaskedLayer,
    MaskedPlan,
    MixturePlan,
    NestGradient,
    NestPlan,
    Plan,
    PrefixPlan,
)

__all__ = [
    "MADE",
    "BernoulliMixture",
    "ConvLayer",
    "ConvPlan",
    "Dense",
    "Factorised",
    "MagnetizationPlan",
    "MaskedLayer",
    "MaskedPlan",
    "MixturePlan",
    "NestGradient",
    "NestPlan",
    "Network",
    "PixelCNN",
    "Plan",
    "PrefixPlan",
    "from_config",
]

_CLASSES: dict[str, type[Network]] = {
    network.__name__: network for network in (BernoulliMixture, Dense, Factorised, MADE, PixelCNN)
}


def from_config(config: object) -> Network:
    """A network built from what its `config()` gave, freshly initialised.

    Raises ValueError or TypeError when `config` is not a dict of that form, or names unknown or unfit arguments.
    """
    if not isinstance(config, dict) or config.get("class") not in _CLASSES:
        known = ", ".join(sorted(_CLASSES))
        raise ValueError(f"config must be a dict whose 'class' is one of {known}, got {config!r}")
    arguments = {name: value for name, value in config.items() if name != "class"}
    return _CLASSES[config["class"]](**arguments)
