"""Which pixels are masked: small blocks (section 3.2) and Context Encoder's two kinds of region."""

import jax
import jax.numpy as jnp
from jax import Array

# Context Encoder makes its random regions of a grid of random numbers, about this many along an
# image, and takes masks whose share of the image lies between these.
REGION_CELLS = 8
REGION_SHARE = (0.2, 0.3)


def block_masks(
    keys_b: Array, image_size: tuple[int, int], num_blocks: int, block_size: tuple[int, int]
) -> Array:
    """Places `num_blocks` blocks of `block_size` anywhere inside each image.

    Blocks of one image may overlap, so at most num_blocks * h * w pixels are masked.

    Args:
        keys_b: [B] one key an image.
        image_size: (H, W) in pixels.
        num_blocks: blocks an image.
        block_size: (h, w) in pixels, at most (H, W).

    Returns:
        bool [B, H, W], true where masked.
    """
    height, width = image_size
    block_h, block_w = block_size
    limits = jnp.array([height - block_h + 1, width - block_w + 1])

    def masked_hw(key: Array) -> Array:
        top, left = jax.random.randint(key, (num_blocks, 2), 0, limits).T[..., None]
        rows = (jnp.arange(height) >= top) & (jnp.arange(height) < top + block_h)
        columns = (jnp.arange(width) >= left) & (jnp.arange(width) < left + block_w)
        return (rows[:, :, None] & columns[:, None, :]).any(0)

    return jax.vmap(masked_hw)(keys_b)


def center_masks(count: int, image_size: tuple[int, int]) -> Array:
    """Masks the central block of half of each side, rounded down (Pathak et al. 2016).

    Returns:
        bool [count, H, W], true where masked.
    """
    height, width = image_size
    top, left = (height - height // 2) // 2, (width - width // 2) // 2
    mask_hw = jnp.zeros(image_size, bool)
    mask_hw = mask_hw.at[top : top + height // 2, left : left + width // 2].set(True)
    return jnp.broadcast_to(mask_hw, (count, *image_size))


def region_masks(keys_b: Array, image_size: tuple[int, int]) -> Array:
    """Masks regions of arbitrary shape, about a quarter of each image (Pathak et al. 2016).

    A coarse grid of random numbers is enlarged to the image, and the lowest values are masked: a
    share of the image drawn uniformly from `REGION_SHARE`.

    Args:
        keys_b: [B] one key an image.
        image_size: (H, W) in pixels.

    Returns:
        bool [B, H, W], true where masked.
    """
    grid = tuple(max(2, round(REGION_CELLS * side / max(image_size))) for side in image_size)

    def masked_hw(key: Array) -> Array:
        field_key, share_key = jax.random.split(key)
        low, high = REGION_SHARE
        share = jax.random.uniform(share_key, minval=low, maxval=high)
        field_hw = jax.image.resize(jax.random.uniform(field_key, grid), image_size, "cubic")
        return field_hw < jnp.quantile(field_hw, share)

    return jax.vmap(masked_hw)(keys_b)
