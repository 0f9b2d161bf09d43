"""What pre-training minimises: a reconstruction's distance to the clean image."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
from jax import Array

from symskip_jax import metrics
from symskip_jax.models import AutoEncoder, count_inner_skips
from symskip_jax.training.losses import Metrics
from symskip_jax.training.skips import SkipSchedule, skip_arguments
from symskip_jax.transforms import Normalization, PretrainTransform

ReconstructionLoss = Literal["image", "masked"]

# Of a pixel in the masked loss, a masked one having 1. Context Encoder's equation gives it 0, but
# then nothing would make an image of the output there.
VISIBLE_WEIGHT = 0.1


class Reconstruction(NamedTuple):
    """A batch, rebuilt.

    Attributes:
        output: [B, H, W, C] normalised.
        target: the clean images, [B, H, W, C] normalised.
        loss: [].
        batch_stats: the network's new statistics.
        measured: `loss` and `psnr`, and `mse` beside a masked loss.
    """

    output: Array
    target: Array
    loss: Array
    batch_stats: Any
    measured: Metrics


def reconstruct_batch(
    variables: Mapping[str, Any],
    images_bhwc: Array,
    keys_b: Array,
    step: Array,
    *,
    model: AutoEncoder,
    transform: PretrainTransform,
    normalization: Normalization,
    loss: ReconstructionLoss,
    skips: SkipSchedule,
) -> Reconstruction:
    """Corrupts uint8 images [B, H, W, C] and rebuilds them in training mode.

    Args:
        variables: `params` and `batch_stats`.
        images_bhwc: the images.
        keys_b: [B] one key an image.
        step: [] steps taken before.
        model: the auto-encoder.
        transform: crop, flip and corruption.
        normalization: of the pixels.
        loss: `image`, the mean squared error; or `masked`, see `masked_error`.
        skips: strength of the inner skips.
    """
    if loss == "masked":
        corrupted, clean, mask = transform.with_mask(keys_b, images_bhwc)
    else:
        corrupted, clean = transform(keys_b, images_bhwc)
        mask = None
    target = normalization.normalize(clean)
    scale = skips.scale(keys_b, step, count_inner_skips(model.spec))
    output, updated = model.apply(
        variables,
        normalization.normalize(corrupted),
        train=True,
        mutable=["batch_stats"],
        **skip_arguments(scale),
    )
    mse = jnp.mean(jnp.square(output - target))
    pixels = jnp.clip(normalization.denormalize(output), 0, 255)
    measured = {"loss": mse, "psnr": metrics.psnr(pixels, clean).mean()}
    if mask is not None:
        measured |= {"loss": masked_error(output, target, mask), "mse": mse}
    batch_stats = updated.get("batch_stats", {})
    return Reconstruction(output, target, measured["loss"], batch_stats, measured)


def masked_error(output_bhwc: Array, target_bhwc: Array, mask_bhw1: Array) -> Array:
    """Returns the mean over images of their weighted mean squared errors, [] float32.

    A masked pixel weighs 1 and a visible one `VISIBLE_WEIGHT` (Pathak et al. 2016, equation 1).
    """
    weights = VISIBLE_WEIGHT + (1 - VISIBLE_WEIGHT) * mask_bhw1
    errors = jnp.square(output_bhwc - target_bhwc).mean(3, keepdims=True)
    return ((weights * errors).sum((1, 2, 3)) / weights.sum((1, 2, 3))).mean()
