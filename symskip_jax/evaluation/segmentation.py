"""Mean intersection over union of whole images of any size."""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from symskip_jax import metrics
from symskip_jax.data.base import VOID, Example
from symskip_jax.errors import UserError
from symskip_jax.models import Segmenter, apply_padded
from symskip_jax.training.compilation import compiler_options
from symskip_jax.training.losses import mask_losses
from symskip_jax.transforms import Normalization

# Images are padded to sides of multiples of so many pixels, as each shape is compiled for itself:
# the 160 photographs of VOC 2012 tried have 49 sizes, which become 5 shapes.
PADDED_TO = 128

# A new pass over a dataset, each time it is called.
Examples = Callable[[], Iterable[Example]]


class _Padded(NamedTuple):
    """Images [B, H, W, C], each in the upper left corner; masks [B, H, W], VOID beyond; sizes."""

    images_bhwc: np.ndarray
    masks_bhw: np.ndarray
    sizes_bd: np.ndarray


def segmentation_evaluator(
    model: Segmenter,
    normalization: Normalization,
    examples: Examples,
    *,
    batch_size: int,
    class_names: Sequence[str],
) -> Callable[[Any], dict[str, float]]:
    """Returns a function of a segmenter's variables that measures it on images with masks.

    Args:
        model: the segmenter.
        normalization: of the pixels, as in training.
        examples: whole images and their masks.
        batch_size: images at a time.
        class_names: of the classes, the background included.

    Returns:
        variables -> `mean_iu` (0 to 1), the mean over classes of `iu_CLASS`, each from the pixels
        of all images together; `pixel_accuracy` (0 to 1), `loss` (cross-entropy, nats; the mean
        over pixels) and `count` (images measured). Void pixels do not count; a class that no pixel
        has and none was given is left out.

    Raises:
        UserError: when called, if every pixel is void.
    """

    @functools.partial(jax.jit, compiler_options=compiler_options())
    def measure(variables: Any, padded: _Padded) -> tuple[Array, Array]:
        images = normalization.normalize(jnp.asarray(padded.images_bhwc))
        logits = apply_padded(model, variables, images, jnp.asarray(padded.sizes_bd))
        masks = jnp.asarray(padded.masks_bhw).astype(jnp.int32)
        losses, counted = mask_losses(logits, masks)
        confusion = metrics.confusion_matrices(logits.argmax(-1), masks, len(class_names))
        return confusion, jnp.where(counted, losses, 0.0).sum((1, 2))

    def evaluate(variables: Any) -> dict[str, float]:
        confusion = np.zeros((len(class_names), len(class_names)), np.int64)
        loss, count = 0.0, 0
        for padded in _padded_alike(examples(), batch_size):
            matrices, losses = measure(variables, padded)
            confusion += np.asarray(matrices).sum(0, dtype=np.int64)
            count += int((padded.sizes_bd[:, 0] > 0).sum())
            loss += float(np.asarray(losses).sum(dtype=np.float64))
        if not confusion.any():
            raise UserError("every pixel of the test split is void: measure on another one")
        unions = metrics.intersections_over_unions(confusion)
        of_classes = dict(zip(class_names, unions.tolist(), strict=True))
        return {
            "mean_iu": float(np.nanmean(unions)),
            "pixel_accuracy": float(np.trace(confusion) / confusion.sum()),
            **{f"iu_{name}": value for name, value in of_classes.items() if np.isfinite(value)},
            "loss": loss / int(confusion.sum()),
            "count": count,
        }

    return evaluate


def _padded_alike(examples: Iterable[Example], batch_size: int) -> Iterator[_Padded]:
    """Batches of images that are padded to one shape; what fills up a batch is of no size."""
    waiting: dict[tuple[int, int], list[Example]] = {}
    for example in examples:
        height, width = (-(-side // PADDED_TO) * PADDED_TO for side in example.image.shape[:2])
        alike = waiting.setdefault((height, width), [])
        alike.append(example)
        if len(alike) == batch_size:
            yield _pad(waiting.pop((height, width)), (height, width), batch_size)
    for shape, alike in waiting.items():
        yield _pad(alike, shape, batch_size)


def _pad(examples: list[Example], shape: tuple[int, int], batch_size: int) -> _Padded:
    channels = examples[0].image.shape[2]
    padded = _Padded(
        np.zeros((batch_size, *shape, channels), np.uint8),
        np.full((batch_size, *shape), VOID, np.uint8),
        np.zeros((batch_size, 2), np.int32),
    )
    for place, (image, mask) in enumerate(examples):
        height, width = image.shape[:2]
        padded.images_bhwc[place, :height, :width] = image
        padded.masks_bhw[place, :height, :width] = mask
        padded.sizes_bd[place] = height, width
    return padded
