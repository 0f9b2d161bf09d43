"""Flax modules: the auto-encoder, what is made of it, and the tables that shape them.

Private: what is public of it is in `symskip_jax.__all__`.
"""

from symskip_jax.models.activations import activations
from symskip_jax.models.autoencoder import AutoEncoder, Decoder, Encoder, count_inner_skips
from symskip_jax.models.classifier import Classifier, Head
from symskip_jax.models.context_encoder import Discriminator, discriminator_layers
from symskip_jax.models.segmenter import Segmenter, apply_padded
from symskip_jax.models.specs import (
    Layer,
    Spec,
    network_1,
    network_2,
    network_3,
    red_net,
    wide_resnet,
)
from symskip_jax.models.wide import WideAutoEncoder, WideClassifier

__all__ = [
    "AutoEncoder",
    "Classifier",
    "Decoder",
    "Discriminator",
    "Encoder",
    "Head",
    "Layer",
    "Segmenter",
    "Spec",
    "WideAutoEncoder",
    "WideClassifier",
    "activations",
    "count_inner_skips",
    "discriminator_layers",
    "apply_padded",
    "network_1",
    "network_2",
    "network_3",
    "red_net",
    "wide_resnet",
]
