"""Brings the channels of an activation to one scale, whatever the layer's own."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jax import Array


class ChannelScale(NamedTuple):
    """Mean and deviation of each channel of an activation, float32 [C].

    A channel that never changes has deviation 1, so that it is only centred: it carries nothing.
    """

    mean_c: np.ndarray
    std_c: np.ndarray

    def __call__(self, features_bhwc: Array) -> Array:
        """Returns activations [B, h, w, C] of mean 0 and deviation 1 in every channel."""
        return (features_bhwc - self.mean_c) / self.std_c


def measure_scale(activations: Iterable[np.ndarray]) -> ChannelScale:
    """Measures channels over images and positions.

    Args:
        activations: [b, h, w, C] in pieces of any size, one at least.
    """
    count, mean, squares = 0, np.zeros(1), np.zeros(1)
    for piece in activations:
        flat = np.asarray(piece, np.float64).reshape(-1, piece.shape[-1])
        # Chan's update, as deep layers of an untrained network have a mean far above their spread.
        total, delta = count + len(flat), flat.mean(0) - mean
        squares = squares + ((flat - flat.mean(0)) ** 2).sum(0)
        squares = squares + delta**2 * count * len(flat) / total
        mean = mean + delta * len(flat) / total
        count = total
    std = np.sqrt(squares / count)
    # What rounding alone makes of a constant is no spread.
    constant = std <= 1e-6 * np.abs(mean)
    return ChannelScale(mean.astype(np.float32), np.where(constant, 1.0, std).astype(np.float32))
