"""Accuracy on centre crops (section 4)."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax
from jax import Array

from symskip_jax import metrics
from symskip_jax.evaluation.batches import Parts, map_images
from symskip_jax.models import Classifier
from symskip_jax.training.compilation import compiler_options
from symskip_jax.training.steps import Batch
from symskip_jax.transforms import Normalization, center_crop


def classification_evaluator(
    model: Classifier,
    normalization: Normalization,
    crop: tuple[int, int],
    parts: Parts,
) -> Callable[[Any], dict[str, float]]:
    """Returns a function of a classifier's variables that measures it on labelled data.

    Args:
        model: the classifier.
        normalization: of the pixels, as in training.
        crop: (h, w) of the central crop.
        parts: of the dataset: `image` [B, H, W, C] uint8 and `label` [B] int32.

    Returns:
        variables -> `accuracy` (0 to 1), `loss` (cross-entropy, nats) and `count` (images
        measured).
    """

    @functools.partial(jax.jit, compiler_options=compiler_options())
    def measure(variables: Any, batch: Batch, indices: Array) -> dict[str, Array]:
        images = normalization.normalize(center_crop(batch["image"], crop))
        logits: Any = model.apply(variables, images, train=False)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
        return {"accuracy": metrics.accuracy(logits, batch["label"]), "loss": losses}

    def evaluate(variables: Any) -> dict[str, float]:
        results = map_images(functools.partial(measure, variables), parts)
        means = {name: float(np.mean(values, dtype=np.float64)) for name, values in results.items()}
        return {**means, "count": len(results["accuracy"])}

    return evaluate
