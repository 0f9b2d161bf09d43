"""PSNR and SSIM of reconstructions, beside those of the corrupted images themselves."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from symskip_jax import metrics
from symskip_jax.evaluation.batches import Parts, map_images
from symskip_jax.models import AutoEncoder
from symskip_jax.training.compilation import compiler_options
from symskip_jax.training.skips import skip_arguments
from symskip_jax.training.steps import Batch
from symskip_jax.transforms import Corruption, Normalization, center_crop

# Apart from every seed of a training run, and the same for all runs, so that they can be compared.
EVALUATION_KEY = 2016


def corrupt_for_evaluation(corruption: Corruption, indices_b: Array, clean_bhwc: Array) -> Array:
    """Corrupts float32 images [B, H, W, C]; image i of a dataset always gets the same draw."""
    key = jax.random.key(EVALUATION_KEY)
    keys_b = jax.vmap(jax.random.fold_in, (None, 0))(key, indices_b)
    return corruption(keys_b, clean_bhwc)


def reconstruct(
    model: AutoEncoder,
    variables: Any,
    normalization: Normalization,
    corrupted_bhwc: Array,
    skip_strength: Array | None = None,
) -> Array:
    """Returns reconstructions of float32 images [B, H, W, C] on the 0-255 scale, clipped to it.

    `skip_strength` [] is that of the inner skips; None for 1.
    """
    inputs = normalization.normalize(corrupted_bhwc)
    output: Any = model.apply(variables, inputs, train=False, **skip_arguments(skip_strength))
    return jnp.clip(normalization.denormalize(output), 0, 255)


class Rebuilt(NamedTuple):
    """Images of a dataset, uint8 [B, H, W, C], and PSNRs in dB, float32 [B]."""

    clean: Array
    corrupted: Array
    reconstructed: Array
    psnr_corrupted: Array
    psnr_reconstructed: Array


def rebuilder(
    model: AutoEncoder,
    normalization: Normalization,
    corruption: Corruption,
    crop: tuple[int, int],
) -> Callable[[Any, Array | None, Array | np.ndarray], Rebuilt]:
    """Returns what corrupts and rebuilds the first images of a dataset, as they are evaluated.

    Returns:
        A compiled function: (variables, strength of the inner skips [] or None for 1, uint8
        [B, H, W, C], the dataset's first images) -> the crops as they are, corrupted and rebuilt.
    """

    @functools.partial(jax.jit, compiler_options=compiler_options())
    def rebuild(
        variables: Any, skip_strength: Array | None, images_bhwc: Array | np.ndarray
    ) -> Rebuilt:
        clean = center_crop(jnp.asarray(images_bhwc), crop).astype(jnp.float32)
        corrupted = corrupt_for_evaluation(corruption, jnp.arange(len(clean)), clean)
        rebuilt = reconstruct(model, variables, normalization, corrupted, skip_strength)
        seen = jnp.clip(corrupted, 0, 255)
        images = (jnp.round(x).astype(jnp.uint8) for x in (clean, seen, rebuilt))
        return Rebuilt(*images, *(metrics.psnr(x, clean) for x in (seen, rebuilt)))

    return rebuild


def reconstruction_evaluator(
    model: AutoEncoder,
    normalization: Normalization,
    corruption: Corruption,
    crop: tuple[int, int],
    parts: Parts,
) -> Callable[..., dict[str, float]]:
    """Returns a function of an auto-encoder's variables that measures it on images.

    Args:
        model: the auto-encoder.
        normalization: of the pixels, as in training.
        corruption: of the input; the same draw for an image at every call.
        crop: (h, w) of the central crop.
        parts: of the dataset: `image` [B, H, W, C] uint8.

    Returns:
        (variables, strength of the inner skips [] or None for 1) -> `loss` (mean squared error of
        normalised pixels), `psnr` and `psnr_identity` (dB, peak 255), `ssim` and `ssim_identity`,
        and `count` (images measured). The identity is the corrupted image taken as the
        reconstruction; both are clipped to 0-255.
    """

    @functools.partial(jax.jit, compiler_options=compiler_options())
    def measure(
        variables: Any, skip_strength: Array | None, batch: Batch, indices: Array
    ) -> dict[str, Array]:
        clean = center_crop(batch["image"], crop).astype(jnp.float32)
        corrupted = corrupt_for_evaluation(corruption, indices, clean)
        inputs = normalization.normalize(corrupted)
        output: Any = model.apply(variables, inputs, train=False, **skip_arguments(skip_strength))
        errors = jnp.square(output - normalization.normalize(clean))
        pixels = jnp.clip(normalization.denormalize(output), 0, 255)
        seen = jnp.clip(corrupted, 0, 255)
        return {
            "loss": errors.mean((1, 2, 3)),
            "psnr": metrics.psnr(pixels, clean),
            "psnr_identity": metrics.psnr(seen, clean),
            "ssim": metrics.ssim(pixels, clean),
            "ssim_identity": metrics.ssim(seen, clean),
        }

    def evaluate(variables: Any, skip_strength: Array | None = None) -> dict[str, float]:
        results = map_images(functools.partial(measure, variables, skip_strength), parts)
        means = {name: float(np.mean(values, dtype=np.float64)) for name, values in results.items()}
        return {**means, "count": len(results["psnr"])}

    return evaluate
