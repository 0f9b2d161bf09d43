"""Whole images through an auto-encoder, in tiles, and how near they come to the clean ones."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from symskip_jax import metrics
from symskip_jax.evaluation.reconstruction import EVALUATION_KEY, reconstruct
from symskip_jax.evaluation.tiling import map_tiles
from symskip_jax.models import AutoEncoder
from symskip_jax.training.compilation import compiler_options
from symskip_jax.transforms import Normalization

# Rows of an image whose SSIM is taken at once, so that large photographs fit.
SSIM_ROWS = 512
SSIM_WINDOW = 11


def restorer(
    model: AutoEncoder,
    variables: Any,
    normalization: Normalization,
    *,
    tile: int,
    overlap: int,
    skip_strength: Array | None = None,
) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function that restores images of any size, on the 0-255 scale.

    A network of one channel restores the channels of a colour image one by one.

    Args:
        model: the auto-encoder.
        variables: its parameters and statistics.
        normalization: of the pixels, as in training.
        tile: largest height and width, in pixels, that the network is given at once.
        overlap: of neighbouring tiles, in pixels; `exact_overlap` or more for the result of the
            whole image.
        skip_strength: [] of the inner skips; None for 1.

    Returns:
        [H, W, C], uint8 or, where there is noise in it, float32 -> uint8 [H, W, C]. It raises
        UserError where the tile is too small for the overlap.
    """

    @functools.partial(jax.jit, compiler_options=compiler_options())
    def network(variables: Any, piece_bhwc: Array) -> Array:
        pixels = reconstruct(model, variables, normalization, piece_bhwc, skip_strength)
        return jnp.round(pixels).astype(jnp.uint8)

    def restore(image_hwc: np.ndarray) -> np.ndarray:
        size = model.channels
        parts = [
            map_tiles(
                lambda piece: np.asarray(network(variables, piece.astype(np.float32))),
                image_hwc[..., first : first + size],
                tile=tile,
                overlap=overlap,
                stride=model.spec.stride,
            )
            for first in range(0, image_hwc.shape[2], size)
        ]
        return np.concatenate(parts, axis=2)

    variables = jax.device_put(variables)
    return restore


def exact_overlap(model: AutoEncoder) -> int:
    """Returns by how many pixels tiles overlap so that no cut can be seen, but for rounding."""
    return 2 * model.spec.radius


def add_noise(image_hwc: np.ndarray, sigma: float) -> np.ndarray:
    """Adds Gaussian noise to an image, always the same to images of one shape; nothing is clipped.

    Args:
        image_hwc: uint8 [H, W, C].
        sigma: deviation on the 0-255 scale.

    Returns:
        float32 [H, W, C].
    """
    random = np.random.default_rng(EVALUATION_KEY)
    noise = random.standard_normal(image_hwc.shape, np.float32)
    return image_hwc.astype(np.float32) + np.float32(sigma) * noise


def as_picture(image_hwc: np.ndarray) -> np.ndarray:
    """Rounds and clips pixels on the 0-255 scale to uint8."""
    return np.clip(np.round(image_hwc), 0, 255).astype(np.uint8)


def measure(picture_hwc: np.ndarray, clean_hwc: np.ndarray) -> dict[str, float]:
    """Measures an image against the clean one, as `symskip_jax.metrics` does.

    Args:
        picture_hwc: uint8 [H, W, C].
        clean_hwc: likewise.

    Returns:
        `psnr`, in dB, and `ssim`.
    """
    psnr = metrics.psnr(jnp.asarray(picture_hwc[None]), jnp.asarray(clean_hwc[None]))
    # The mean over all places of the window, taken over strips that share its height but one.
    height, width, _ = clean_hwc.shape
    shortest = min(height, width)
    window = min(SSIM_WINDOW, shortest - 1 + shortest % 2)
    places, total = height - window + 1, 0.0
    for top in range(0, places, SSIM_ROWS):
        count = min(SSIM_ROWS, places - top)
        rows = slice(top, top + count + window - 1)
        total += count * float(_ssim(picture_hwc[None, rows], clean_hwc[None, rows])[0])
    return {"psnr": float(psnr[0]), "ssim": total / places}


_ssim = jax.jit(metrics.ssim)
