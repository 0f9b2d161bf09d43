"""Accuracy on central crops, or on the mean over random ones (section 4)."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import optax
from jax import Array

from symskip_jax import metrics
from symskip_jax.evaluation.batches import Parts
from symskip_jax.evaluation.crops import logits_over_crops
from symskip_jax.models import Classifier
from symskip_jax.training.compilation import compiler_options
from symskip_jax.transforms import Normalization


def classification_evaluator(
    model: Classifier,
    normalization: Normalization,
    crop: tuple[int, int],
    passes: Sequence[Parts],
) -> Callable[[Any], dict[str, float]]:
    """Returns a function of a classifier's variables that measures it on labelled data.

    Args:
        model: the classifier.
        normalization: of the pixels, as in training.
        crop: (h, w).
        passes: as `logits_over_crops` takes them, with `label` [B] int32.

    Returns:
        variables -> `accuracy` (0 to 1), `loss` (cross-entropy, nats) and `count` (images
        measured).
    """
    apply = logits_over_crops(model, normalization, crop, passes)

    @functools.partial(jax.jit, compiler_options=compiler_options())
    def measure(logits_nk: Array, labels_n: Array) -> dict[str, Array]:
        losses = optax.softmax_cross_entropy_with_integer_labels(logits_nk, labels_n)
        return {"accuracy": metrics.accuracy(logits_nk, labels_n), "loss": losses}

    def evaluate(variables: Any) -> dict[str, float]:
        results = measure(*apply(variables))
        means = {
            name: float(np.mean(np.asarray(values), dtype=np.float64))
            for name, values in results.items()
        }
        return {**means, "count": len(results["accuracy"])}

    return evaluate
