"""The corruptions of section 3.2 and Context Encoder's, on the 0-255 scale."""

import dataclasses
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jax import Array

from symskip_jax.errors import UserError
from symskip_jax.transforms.masks import block_masks, center_masks, region_masks

Kind = Literal["gaussian", "blocks", "center", "regions", "none"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MASKING_KINDS = ("blocks", "center", "regions")


def gaussian_noise(keys_b: Array, images_bhwc: Array, sigma: float | Array) -> Array:
    """Adds Gaussian noise of mean 0 and deviation `sigma` to each pixel; nothing is clipped.

    Args:
        keys_b: [B] one key an image.
        images_bhwc: [B, H, W, C] float32 on the 0-255 scale.
        sigma: noise level on the 0-255 scale, of all images or [B, 1, 1, 1] of each.

    Returns:
        [B, H, W, C] float32.
    """
    noise = jax.vmap(lambda key: jax.random.normal(key, images_bhwc.shape[1:]))(keys_b)
    return images_bhwc + sigma * noise


def gaussian_noise_between(
    keys_b: Array, images_bhwc: Array, sigma: float, sigma_max: float
) -> Array:
    """Adds Gaussian noise whose level is each image's own, uniform from `sigma` to `sigma_max`.

    Arguments and result are those of `gaussian_noise`.
    """
    keys_b2 = jax.vmap(jax.random.split)(keys_b)
    levels_b = jax.vmap(lambda key: jax.random.uniform(key, minval=sigma, maxval=sigma_max))(
        keys_b2[:, 0]
    )
    return gaussian_noise(keys_b2[:, 1], images_bhwc, levels_b[:, None, None, None])


def paint(images_bhwc: Array, mask_bhw: Array, fill: tuple[float, ...]) -> Array:
    """Paints `fill` [C] over the masked pixels of images [B, H, W, C]."""
    return jnp.where(mask_bhw[..., None], jnp.array(fill, images_bhwc.dtype), images_bhwc)


def mask_blocks(
    keys_b: Array,
    images_bhwc: Array,
    num_blocks: int,
    block_size: tuple[int, int],
    fill: tuple[float, ...],
) -> Array:
    """Paints `fill` [C] over blocks of float32 images [B, H, W, C]; see `block_masks`."""
    height, width = images_bhwc.shape[1:3]
    return paint(images_bhwc, block_masks(keys_b, (height, width), num_blocks, block_size), fill)


@dataclasses.dataclass(frozen=True)
class Corruption:
    """A corruption with its settings (section 3.2, and Pathak et al. 2016).

    Attributes:
        kind: `gaussian`, `blocks` (one big block is num_blocks=1), `center` or `regions` (Context
            Encoder's masks) or `none`; of any other there is a UserError.
        sigma: of `gaussian`, on the 0-255 scale.
        num_blocks: of `blocks`.
        block_size: (h, w) of `blocks`, in pixels.
        fill: [C] of what is masked; the mean of the data, which is 0 after normalisation.
        sigma_max: of `gaussian`: if above `sigma`, each image's own level is drawn up to this; not
            of the paper.
    """

    kind: Kind
    sigma: float = 0.0
    num_blocks: int = 0
    block_size: tuple[int, int] = (0, 0)
    fill: tuple[float, ...] = (0.0,)
    sigma_max: float = 0.0

    def __post_init__(self) -> None:
        """Refuses a kind that there is not, before a step is compiled with it."""
        if self.kind not in KINDS:
            raise UserError(f"corruption.kind={self.kind} is none of {', '.join(KINDS)}")

    def __call__(self, keys_b: Array, images_bhwc: Array) -> Array:
        """Corrupts float32 images [B, H, W, C] on the 0-255 scale, each by its own key."""
        if self.kind == "gaussian" and self.sigma_max > self.sigma:
            return gaussian_noise_between(keys_b, images_bhwc, self.sigma, self.sigma_max)
        if self.kind == "gaussian":
            return gaussian_noise(keys_b, images_bhwc, self.sigma)
        if self.kind == "none":
            return images_bhwc
        return self.with_mask(keys_b, images_bhwc)[0]

    def with_mask(self, keys_b: Array, images_bhwc: Array) -> tuple[Array, Array]:
        """Corrupts images, and says where.

        Args:
            keys_b: [B] one key an image.
            images_bhwc: [B, H, W, C] float32 on the 0-255 scale.

        Returns:
            What a call returns, and the mask, float32 [B, H, W, 1], 1 where masked.

        Raises:
            UserError: this kind of corruption masks nothing.
        """
        height, width = images_bhwc.shape[1:3]
        size = (height, width)
        if self.kind == "blocks":
            mask_bhw = block_masks(keys_b, size, self.num_blocks, self.block_size)
        elif self.kind == "center":
            mask_bhw = center_masks(len(images_bhwc), size)
        elif self.kind == "regions":
            mask_bhw = region_masks(keys_b, size)
        else:
            raise UserError(
                f"corruption.kind={self.kind} masks no pixels; choose one of "
                f"{', '.join(MASKING_KINDS)}"
            )
        return paint(images_bhwc, mask_bhw, self.fill), mask_bhw[..., None].astype(jnp.float32)
