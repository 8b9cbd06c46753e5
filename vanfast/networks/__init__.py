"""Autoregressive networks: exact distributions over spins, evaluated in logits and drawn site by site."""

from vanfast.networks.base import Network
from vanfast.networks.dense import Dense
from vanfast.networks.pixelcnn import PixelCNN
from vanfast.networks.plan import ConvLayer, ConvPlan, MaskedLayer, MaskedPlan, MixturePlan, Plan

__all__ = [
    "ConvLayer",
    "ConvPlan",
    "Dense",
    "MaskedLayer",
    "MaskedPlan",
    "MixturePlan",
    "Network",
    "PixelCNN",
    "Plan",
]
