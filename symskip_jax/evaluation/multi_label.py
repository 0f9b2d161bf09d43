"""Average precision of images with several classes, as PASCAL VOC 2007 measures it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from symskip_jax import metrics
from symskip_jax.errors import UserError
from symskip_jax.evaluation.batches import Parts
from symskip_jax.evaluation.crops import logits_over_crops
from symskip_jax.models import Classifier
from symskip_jax.training.losses import multi_label_losses
from symskip_jax.transforms import Normalization


def multi_label_evaluator(
    model: Classifier,
    normalization: Normalization,
    crop: tuple[int, int],
    passes: Sequence[Parts],
    *,
    class_names: Sequence[str],
    groups: Mapping[str, Sequence[str]],
) -> Callable[[Any], dict[str, float]]:
    """Returns a function of a classifier's variables that measures it on labelled data.

    Args:
        model: the classifier.
        normalization: of the pixels, as in training.
        crop: (h, w).
        passes: as `logits_over_crops` takes them, with `label` [B, number of classes] int8.
        class_names: of the classes.
        groups: coarse classes, by the names of theirs (table 5).

    Returns:
        variables -> `mean_average_precision` (0 to 1), `map_GROUP` of each group, `ap_CLASS` of
        each class, `loss` (binary cross-entropy, nats) and `count` (images measured). A class that
        no image shows is left out.

    Raises:
        UserError: when called, if no image shows any class.
    """
    apply = logits_over_crops(model, normalization, crop, passes)
    losses_of = jax.jit(multi_label_losses)

    def evaluate(variables: Any) -> dict[str, float]:
        logits_nk, labels_nk = apply(variables)
        losses, counted = map(np.asarray, losses_of(logits_nk, labels_nk))
        precisions = {
            name: metrics.average_precision(logits_nk[:, k], labels_nk[:, k])
            for k, name in enumerate(class_names)
            if (labels_nk[:, k] == 1).any()
        }
        if not precisions:
            raise UserError("no image of the test split shows any class: measure on another one")
        groups_here = {
            f"map_{group}": [precisions[name] for name in names if name in precisions]
            for group, names in groups.items()
        }
        return {
            "mean_average_precision": float(np.mean([*precisions.values()])),
            **{name: float(np.mean(values)) for name, values in groups_here.items() if values},
            **{f"ap_{name}": value for name, value in precisions.items()},
            "loss": float(np.mean(losses[counted], dtype=np.float64)),
            "count": len(logits_nk),
        }

    return evaluate
