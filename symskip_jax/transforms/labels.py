"""Masks that stay with their images."""

import dataclasses

import jax.numpy as jnp
from jax import Array

from symskip_jax.transforms.pipeline import Augmentation


@dataclasses.dataclass(frozen=True)
class MaskTransform:
    """uint8 masks -> int32, cropped and flipped as the same keys crop and flip their images.

    For the segmentation of section 5.4.2.

    Attributes:
        augmentation: of the images.
    """

    augmentation: Augmentation

    def __call__(self, keys_b: Array, masks_bhw: Array) -> Array:
        """Transforms masks [B, H, W], each by the key of its image."""
        # float32 holds a class exactly.
        return self.augmentation(keys_b, masks_bhw[..., None])[..., 0].astype(jnp.int32)
