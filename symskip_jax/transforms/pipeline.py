"""What happens to a batch of uint8 images between storage and the network."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from symskip_jax.transforms.corrupt import Corruption
from symskip_jax.transforms.geometry import random_crop, random_flip
from symskip_jax.transforms.randomness import Purpose, keys_for


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """A random crop, then a random flip (section 4). uint8 in, float32 on the 0-255 scale out.

    Attributes:
        crop: (h, w) in pixels, at most those of the images.
        flip: whether each image is mirrored left to right with probability one half.
    """

    crop: tuple[int, int]
    flip: bool

    def __call__(self, keys_b: Array, images_bhwc: Array) -> Array:
        """Augments images [B, H, W, C], each by its own key."""
        images = images_bhwc
        if self.crop != images.shape[1:3]:
            images = random_crop(keys_for(keys_b, Purpose.CROP), images, self.crop)
        if self.flip:
            images = random_flip(keys_for(keys_b, Purpose.FLIP), images)
        return images.astype(jnp.float32)


@dataclasses.dataclass(frozen=True)
class PretrainTransform:
    """uint8 images -> (corrupted, clean), float32 on the 0-255 scale (section 3.3).

    Attributes:
        augmentation: crop and flip, of both alike.
        corruption: of the first.
    """

    augmentation: Augmentation
    corruption: Corruption

    def __call__(self, keys_b: Array, images_bhwc: Array) -> tuple[Array, Array]:
        """Transforms images [B, H, W, C], each by its own key."""
        clean = self.augmentation(keys_b, images_bhwc)
        return self.corruption(keys_for(keys_b, Purpose.CORRUPTION), clean), clean

    def with_mask(self, keys_b: Array, images_bhwc: Array) -> tuple[Array, Array, Array]:
        """Transforms images in the same way, and says where: see `Corruption.with_mask`."""
        clean = self.augmentation(keys_b, images_bhwc)
        corrupted, mask = self.corruption.with_mask(keys_for(keys_b, Purpose.CORRUPTION), clean)
        return corrupted, clean, mask


@dataclasses.dataclass(frozen=True)
class FinetuneTransform:
    """uint8 images -> inputs, float32, 0-255, corrupted with a probability (supplement B).

    Attributes:
        augmentation: an `Augmentation`, or another function of (keys_b [B], images_bhwc uint8)
            that gives float32 [B, h, w, C] on the 0-255 scale.
        corruption: of an image that is chosen.
        corruption_probability: that one is.
    """

    augmentation: Callable[[Array, Array], Array]
    corruption: Corruption
    corruption_probability: float

    def __call__(self, keys_b: Array, images_bhwc: Array) -> Array:
        """Transforms images [B, H, W, C], each by its own key."""
        clean = self.augmentation(keys_b, images_bhwc)
        if self.corruption_probability == 0:
            return clean
        corrupted = self.corruption(keys_for(keys_b, Purpose.CORRUPTION), clean)
        chosen_b = jax.vmap(lambda key: jax.random.bernoulli(key, self.corruption_probability))(
            keys_for(keys_b, Purpose.CORRUPT_OR_NOT)
        )
        return jnp.where(chosen_b[:, None, None, None], corrupted, clean)
