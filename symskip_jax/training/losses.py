"""What fine-tuning minimises, task by task: pure functions of outputs and labels."""

from collections.abc import Callable
from typing import Any

import jax
import optax
from jax import Array

from symskip_jax import metrics

Metrics = dict[str, Array]
# (outputs, labels) -> (loss [], metrics by name, each [])
TaskLoss = Callable[[Any, Any], tuple[Array, Metrics]]


def classification_loss(
    logits: Array, labels: Array, label_smoothing: float = 0.0
) -> tuple[Array, Metrics]:
    """One class an image.

    Args:
        logits: [B, number of classes] float32.
        labels: [B] int32.
        label_smoothing: share of the target that all classes have alike; the label has the rest.

    Returns:
        The mean cross-entropy (nats) with the targets; it as `loss`, and `accuracy` (0 to 1).
    """
    if label_smoothing == 0:
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    else:
        targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), label_smoothing)
        losses = optax.softmax_cross_entropy(logits, targets)
    loss = losses.mean()
    return loss, {"loss": loss, "accuracy": metrics.accuracy(logits, labels).mean()}
