"""Autoregressive networks: exact distributions over spins, evaluated in logits and drawn site by site."""

from __future__ import annotations

from vanfast.networks.base import Network
from vanfast.networks.categorical_made import CategoricalMADE
from vanfast.networks.curie_weiss import CurieWeissInf, CurieWeissN, OneParameter
from vanfast.networks.dense import Dense
from vanfast.networks.exact_h2 import ExactH2
from vanfast.networks.made import MADE
from vanfast.networks.mixture import BernoulliMixture, Factorised
from vanfast.networks.pixelcnn import PixelCNN
from vanfast.networks.plan import (
    CategoricalPlan,
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
from vanfast.networks.sherrington_kirkpatrick import SK

__all__ = [
    "MADE",
    "SK",
    "BernoulliMixture",
    "CategoricalMADE",
    "CategoricalPlan",
    "ConvLayer",
    "ConvPlan",
    "CurieWeissInf",
    "CurieWeissN",
    "Dense",
    "ExactH2",
    "Factorised",
    "MagnetizationPlan",
    "MaskedLayer",
    "MaskedPlan",
    "MixturePlan",
    "NestGradient",
    "NestPlan",
    "Network",
    "OneParameter",
    "PixelCNN",
    "Plan",
    "PrefixPlan",
    "from_config",
]

_CLASSES: dict[str, type[Network]] = {
    network.__name__: network
    for network in (
        *(BernoulliMixture, CategoricalMADE, CurieWeissInf, CurieWeissN, Dense, ExactH2, Factorised, MADE),
        *(OneParameter, PixelCNN, SK),
    )
}


def from_config(config: object) -> Network:
    """A network built from what its `config()` gave, freshly initialised.

    Raises ValueError or TypeError when `config` is not a dict of that form, or names unknown or unfit arguments.
    """
    if not isinstance(config, dict) or config.get("class") not in _CLASSES:
        known = ", ".join(sorted(_CLASSES))
        raise ValueError(f"config must be a dict whose 'class' is one of {known}, got {config!r}")
    arguments = {name: value for name, value in config.items() if name != "class"}
    return _CLASSES[config["class"]].from_arguments(arguments)
