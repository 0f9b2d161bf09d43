"""Zero-centring and scaling of pixels (section 4)."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array


class Normalization(NamedTuple):
    """Zero-centring and scaling of pixels (section 4).

    Attributes:
        mean: [C] of each channel, on the 0-255 scale.
        std: [C] standard deviation of each channel, on the 0-255 scale.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def from_facts(cls, facts: Mapping[str, Sequence[float]]) -> "Normalization":
        """Returns the normalisation that `_asdict` and JSON made lists of."""
        return cls(tuple(facts["mean"]), tuple(facts["std"]))

    def normalize(self, images_bhwc: Array) -> Array:
        """Maps pixels [B, H, W, C] on the 0-255 scale to zero mean and unit deviation, float32."""
        return (images_bhwc.astype(jnp.float32) - jnp.array(self.mean)) / jnp.array(self.std)

    def denormalize(self, images_bhwc: Array) -> Array:
        """Maps normalised images [B, H, W, C] back to the 0-255 scale, unclipped, float32."""
        return images_bhwc * jnp.array(self.std) + jnp.array(self.mean)


def measure_normalization(batches: Iterable[np.ndarray]) -> Normalization:
    """Measures the channels of images, to zero-centre and scale them by (section 4).

    A channel without any variation gets deviation 1, so that it is only centred.

    Args:
        batches: uint8 [B, H, W, C], one of them not empty; sizes may differ.

    Returns:
        Mean and population standard deviation of each channel, on the 0-255 scale.
    """
    counts = functools.reduce(
        np.add,
        (
            np.stack([np.bincount(x.ravel(), minlength=256) for x in np.moveaxis(images, 3, 0)])
            for images in batches
        ),
    )
    levels = np.arange(256.0)
    mean = [float(levels @ n / n.sum()) for n in counts]
    std = [
        float(np.sqrt((levels - m) ** 2 @ n / n.sum())) or 1.0
        for m, n in zip(mean, counts, strict=True)
    ]
    return Normalization(tuple(mean), tuple(std))
