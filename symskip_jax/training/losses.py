"""What fine-tuning minimises, task by task: pure functions of outputs and labels."""

from collections.abc import Callable
from typing import Any

import optax
from jax import Array

from symskip_jax import metrics

Metrics = dict[str, Array]
# (outputs, labels) -> (loss [], metrics by name, each [])
TaskLoss = Callable[[Any, Any], tuple[Array, Metrics]]


def classification_loss(logits: Array, labels: Array) -> tuple[Array, Metrics]:
    """One class an image.

    Args:
        logits: [B, number of classes] float32.
        labels: [B] int32.

    Returns:
        The mean cross-entropy (nats); it as `loss`, and `accuracy` (0 to 1).
    """
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    return loss, {"loss": loss, "accuracy": metrics.accuracy(logits, labels).mean()}
