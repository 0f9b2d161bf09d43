"""Stronger augmentation than crops and flips, for fine-tuning on few labels."""

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array

from symskip_jax.transforms.corrupt import mask_blocks
from symskip_jax.transforms.geometry import random_crop
from symskip_jax.transforms.pipeline import Augmentation
from symskip_jax.transforms.randomness import Purpose, keys_for

# Parts of red, green and blue in what counts as grey (ITU-R BT.601).
_LUMA = (0.299, 0.587, 0.114)


def random_shift(keys_b: Array, images_bhwc: Array, most: tuple[int, int]) -> Array:
    """Shifts each image by up to `most` (rows, columns); what comes in is its mirror image.

    Args:
        keys_b: [B] one key an image.
        images_bhwc: [B, H, W, C].
        most: below (H, W).

    Returns:
        [B, H, W, C].
    """
    rows, columns = most
    padded = jnp.pad(images_bhwc, ((0, 0), (rows, rows), (columns, columns), (0, 0)), "reflect")
    height, width = images_bhwc.shape[1:3]
    return random_crop(keys_b, padded, (height, width))


def jitter_colours(factors_b3: Array, images_bhwc: Array) -> Array:
    """Scales brightness, then contrast about the mean grey, then saturation about each grey.

    Args:
        factors_b3: [B, 3] of brightness, contrast and saturation; 1 changes nothing.
        images_bhwc: [B, H, W, C] float32 on the 0-255 scale. Of three channels the grey is the luma
            of RGB, else their mean.

    Returns:
        [B, H, W, C] float32, clipped to 0-255 after each of the three.
    """
    brightness, contrast, saturation = factors_b3.T[:, :, None, None, None]
    x = jnp.clip(brightness * images_bhwc, 0, 255)
    mean = _grey(x).mean((1, 2), keepdims=True)
    x = jnp.clip(mean + contrast * (x - mean), 0, 255)
    grey = _grey(x)
    return jnp.clip(grey + saturation * (x - grey), 0, 255)


def _grey(images_bhwc: Array) -> Array:
    channels = images_bhwc.shape[-1]
    parts = jnp.array(_LUMA) if channels == 3 else jnp.full(channels, 1 / channels)
    return (images_bhwc * parts).sum(-1, keepdims=True)


@dataclasses.dataclass(frozen=True)
class StrongAugmentation:
    """Crop and flip, then a shift, a jitter of the colours, and one erased block.

    Attributes:
        augmentation: the crop and flip.
        fill: [C] what an erased pixel becomes, on the 0-255 scale.
        shift: most of each side that an image is shifted by.
        jitter: factors of brightness, contrast and saturation are from 1 - jitter to 1 + jitter.
        erased: part of each side that the erased block has, which lies anywhere inside the image.
    """

    augmentation: Augmentation
    fill: tuple[float, ...]
    shift: float = 1 / 8
    jitter: float = 0.4
    erased: float = 3 / 8

    def __call__(self, keys_b: Array, images_bhwc: Array) -> Array:
        """Augments uint8 images [B, H, W, C], each by its own key; float32 on the 0-255 scale."""
        x = self.augmentation(keys_b, images_bhwc)
        height, width = x.shape[1:3]
        shift_h, shift_w = (int(self.shift * side) for side in (height, width))
        x = random_shift(keys_for(keys_b, Purpose.SHIFT), x, (shift_h, shift_w))
        low, high = 1 - self.jitter, 1 + self.jitter
        factors_b3 = jax.vmap(lambda key: jax.random.uniform(key, (3,), minval=low, maxval=high))(
            keys_for(keys_b, Purpose.COLOURS)
        )
        x = jitter_colours(factors_b3, x)
        block = (int(self.erased * height), int(self.erased * width))
        return mask_blocks(keys_for(keys_b, Purpose.ERASURE), x, 1, block, self.fill)
