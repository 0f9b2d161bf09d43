"""Batched, pure image transforms that run on the device inside the compiled step.

Every random transform takes one key an image, so that an image's draw depends on nothing but its
own key: not on the batch around it nor on the device that holds it.

Private: what is public of it is in `symskip_jax.__all__`.
"""

from symskip_jax.transforms.corrupt import (
    MASKING_KINDS,
    Corruption,
    gaussian_noise,
    mask_blocks,
)
from symskip_jax.transforms.geometry import center_crop, random_crop, random_flip
from symskip_jax.transforms.labels import MaskTransform
from symskip_jax.transforms.normalize import Normalization, measure_normalization
from symskip_jax.transforms.pipeline import Augmentation, FinetuneTransform, PretrainTransform
from symskip_jax.transforms.randomness import Purpose, image_keys, keys_for
from symskip_jax.transforms.strong import StrongAugmentation, jitter_colours, random_shift

__all__ = [
    "MASKING_KINDS",
    "Augmentation",
    "Corruption",
    "FinetuneTransform",
    "MaskTransform",
    "Normalization",
    "PretrainTransform",
    "Purpose",
    "StrongAugmentation",
    "center_crop",
    "gaussian_noise",
    "image_keys",
    "jitter_colours",
    "keys_for",
    "mask_blocks",
    "measure_normalization",
    "random_crop",
    "random_flip",
    "random_shift",
]
