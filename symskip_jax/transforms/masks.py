"""Which pixels are masked: small blocks (section 3.2) and Context Encoder's two kinds of region."""

import jax
import jax.numpy as jnp
from jax import Array, lax

# Context Encoder makes its random regions of a grid of random numbers, about this many along the
# longer side of an image, and takes masks whose share of the image lies between these.
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

    A coarse grid of random numbers is enlarged, a window of the image's size is cut out of it, and
    its lowest values are masked: a share of the image drawn uniformly from `REGION_SHARE`.

    Args:
        keys_b: [B] one key an image.
        image_size: (H, W) in pixels.

    Returns:
        bool [B, H, W], true where masked.
    """
    cell = max(1, round(max(image_size) / REGION_CELLS))
    # The outermost half of a cell is left away, as an enlarged field varies more at its edges; a
    # whole cell is for the window to move in, so that no place is masked more often than another.
    grid = tuple(-(-side // cell) + 2 for side in image_size)
    field_size = tuple(cells * cell for cells in grid)

    def masked_hw(key: Array) -> Array:
        field_key, place_key, share_key = jax.random.split(key, 3)
        field = jax.image.resize(jax.random.uniform(field_key, grid), field_size, "cubic")
        top, left = jax.random.randint(place_key, (2,), 0, cell) + cell // 2
        field_hw = lax.dynamic_slice(field, (top, left), image_size)
        low, high = REGION_SHARE
        share = jax.random.uniform(share_key, minval=low, maxval=high)
        return field_hw < _level_below_which(share, field_hw)

    return jax.vmap(masked_hw)(keys_b)


def _level_below_which(share: Array, field_hw: Array) -> Array:
    """Returns the level [] below which about this share of a field lies.

    By halving: a sort of every pixel would take longer.
    """

    def halve(_: int, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = (low + high) / 2
        too_low = jnp.mean(field_hw < middle) < share
        return jnp.where(too_low, middle, low), jnp.where(too_low, high, middle)

    return lax.fori_loop(0, 16, halve, (field_hw.min(), field_hw.max()))[1]
