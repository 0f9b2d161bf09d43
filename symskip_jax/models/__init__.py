"""Flax modules: the auto-encoder, the classifier, and the tables that shape them."""

from symskip_jax.models.activations import activations
from symskip_jax.models.autoencoder import AutoEncoder, Decoder, Encoder
from symskip_jax.models.classifier import Classifier, Head
from symskip_jax.models.specs import Layer, Spec, network_1, network_2, network_3, red_net

__all__ = [
    "AutoEncoder",
    "Classifier",
    "Decoder",
    "Encoder",
    "Head",
    "Layer",
    "Spec",
    "activations",
    "network_1",
    "network_2",
    "network_3",
    "red_net",
]
