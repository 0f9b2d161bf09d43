"""What a classifier answers to every image of a dataset, by one crop or by the mean of several."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import Array

from symskip_jax.evaluation.batches import Parts, map_images
from symskip_jax.evaluation.reconstruction import EVALUATION_KEY
from symskip_jax.models import Classifier
from symskip_jax.training.compilation import compiler_options
from symskip_jax.training.steps import Batch
from symskip_jax.transforms import Normalization, Purpose, center_crop, keys_for, random_crop


def logits_over_crops(
    model: Classifier, normalization: Normalization, crop: tuple[int, int], passes: Sequence[Parts]
) -> Callable[[Any], tuple[np.ndarray, np.ndarray]]:
    """Returns a function of a classifier's variables that applies it to a dataset.

    Args:
        model: the classifier.
        normalization: of the pixels, as in training.
        crop: (h, w).
        passes: over the dataset: `image` [B, H, W, C] uint8 and `label` [B, ...]. One is shown by
            central crops; of several, each by random crops of its own, which depend on the number
            of the pass and the index of the image alone.

    Returns:
        variables -> logits [N, number of classes] float32, the mean over the passes (section 4),
        and labels [N, ...].
    """
    draws = [None] if len(passes) == 1 else [np.int32(number) for number in range(len(passes))]

    @functools.partial(jax.jit, compiler_options=compiler_options())
    def answer(
        variables: Any, draw: Array | None, batch: Batch, indices_b: Array
    ) -> dict[str, Array]:
        images = _cropped(batch["image"], crop, draw, indices_b)
        logits: Any = model.apply(variables, normalization.normalize(images), train=False)
        return {"logits": logits, "label": batch["label"]}

    def apply(variables: Any) -> tuple[np.ndarray, np.ndarray]:
        found = [
            map_images(functools.partial(answer, variables, draw), parts)
            for draw, parts in zip(draws, passes, strict=True)
        ]
        return np.mean([it["logits"] for it in found], axis=0), found[0]["label"]

    return apply


def _cropped(
    images_bhwc: Array, crop: tuple[int, int], draw: Array | None, indices_b: Array
) -> Array:
    if draw is None:
        return center_crop(images_bhwc, crop)
    if images_bhwc.shape[1:3] == crop:  # streamed: cut already
        return images_bhwc
    key = jax.random.fold_in(jax.random.key(EVALUATION_KEY), draw)
    keys_b = jax.vmap(jax.random.fold_in, (None, 0))(key, indices_b)
    return random_crop(keys_for(keys_b, Purpose.CROP), images_bhwc, crop)
