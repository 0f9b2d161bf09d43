"""The corruptions of section 3.2, on the 0-255 scale."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array


def gaussian_noise(keys_b: Array, images_bhwc: Array, sigma: float) -> Array:
    """Adds Gaussian noise of mean 0 and deviation `sigma` to each pixel; nothing is clipped.

    Args:
        keys_b: [B] one key an image.
        images_bhwc: [B, H, W, C] float32 on the 0-255 scale.
        sigma: noise level on the 0-255 scale.

    Returns:
        [B, H, W, C] float32.
    """
    noise = jax.vmap(lambda key: jax.random.normal(key, images_bhwc.shape[1:]))(keys_b)
    return images_bhwc + sigma * noise


def mask_blocks(
    keys_b: Array,
    images_bhwc: Array,
    num_blocks: int,
    block_size: tuple[int, int],
    fill: tuple[float, ...],
) -> Array:
    """Paints `num_blocks` blocks of `block_size` over each image, anywhere inside it.

    Blocks of one image may overlap, so at most num_blocks * h * w pixels are masked.

    Args:
        keys_b: [B] one key an image.
        images_bhwc: [B, H, W, C] float32.
        num_blocks: blocks an image.
        block_size: (h, w) in pixels, at most (H, W).
        fill: [C] the value painted.

    Returns:
        [B, H, W, C] float32.
    """
    height, width = images_bhwc.shape[1:3]
    block_h, block_w = block_size
    limits = jnp.array([height - block_h + 1, width - block_w + 1])

    def masked_hw(key: Array) -> Array:
        top, left = jax.random.randint(key, (num_blocks, 2), 0, limits).T[..., None]
        rows = (jnp.arange(height) >= top) & (jnp.arange(height) < top + block_h)
        columns = (jnp.arange(width) >= left) & (jnp.arange(width) < left + block_w)
        return (rows[:, :, None] & columns[:, None, :]).any(0)

    mask_bhw = jax.vmap(masked_hw)(keys_b)
    return jnp.where(mask_bhw[..., None], jnp.array(fill, images_bhwc.dtype), images_bhwc)


@dataclasses.dataclass(frozen=True)
class Corruption:
    """A corruption with its settings.

    Attributes:
        kind: `gaussian`, `blocks` (one big block is num_blocks=1) or `none`.
        sigma: of `gaussian`, on the 0-255 scale.
        num_blocks: of `blocks`.
        block_size: (h, w) of `blocks`, in pixels.
        fill: [C] of `blocks`; the mean of the data, which is 0 after normalisation.
    """

    kind: Literal["gaussian", "blocks", "none"]
    sigma: float = 0.0
    num_blocks: int = 0
    block_size: tuple[int, int] = (0, 0)
    fill: tuple[float, ...] = (0.0,)

    def __call__(self, keys_b: Array, images_bhwc: Array) -> Array:
        """Corrupts float32 images [B, H, W, C] on the 0-255 scale, each by its own key."""
        if self.kind == "gaussian":
            return gaussian_noise(keys_b, images_bhwc, self.sigma)
        if self.kind == "blocks" and self.num_blocks > 0:
            return mask_blocks(keys_b, images_bhwc, self.num_blocks, self.block_size, self.fill)
        return images_bhwc
