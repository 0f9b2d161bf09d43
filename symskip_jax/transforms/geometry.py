"""Crops and flips."""

import jax
import jax.numpy as jnp
from jax import Array, lax


def random_crop(keys_b: Array, images_bhwc: Array, size: tuple[int, int]) -> Array:
    """Cuts a window of `size` out of each image, every position equally likely.

    Args:
        keys_b: [B] one key an image.
        images_bhwc: [B, H, W, C], any dtype.
        size: (h, w), at most (H, W).

    Returns:
        [B, h, w, C].
    """
    height, width, channels = images_bhwc.shape[1:]
    limits = jnp.array([height - size[0] + 1, width - size[1] + 1])

    def crop(key: Array, image_hwc: Array) -> Array:
        top, left = jax.random.randint(key, (2,), 0, limits)
        return lax.dynamic_slice(image_hwc, (top, left, 0), (*size, channels))

    return jax.vmap(crop)(keys_b, images_bhwc)


def center_crop(images_bhwc: Array, size: tuple[int, int]) -> Array:
    """Cuts the central window of `size` (one pixel up and left of it where it cannot be exact)."""
    height, width = images_bhwc.shape[1:3]
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    return images_bhwc[:, top : top + size[0], left : left + size[1]]


def random_flip(keys_b: Array, images_bhwc: Array) -> Array:
    """Mirrors each image left to right with probability one half."""
    flip_b = jax.vmap(jax.random.bernoulli)(keys_b)
    return jnp.where(flip_b[:, None, None, None], images_bhwc[:, :, ::-1], images_bhwc)
