"""What fine-tuning minimises, task by task: pure functions of outputs and labels."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import optax
from jax import Array

from symskip_jax import metrics
from symskip_jax.data.base import VOID

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


def multi_label_losses(logits_bk: Array, labels_bk: Array) -> tuple[Array, Array]:
    """Returns the binary cross-entropies (nats), and which of them count, both [B, K].

    Args:
        logits_bk: [B, number of classes] float32.
        labels_bk: integer: 1 where a class is there, 0 where not, -1 where it does not count.
    """
    losses = optax.sigmoid_binary_cross_entropy(logits_bk, (labels_bk == 1).astype(jnp.float32))
    return losses, labels_bk >= 0


def multi_label_loss(logits_bk: Array, labels_bk: Array) -> tuple[Array, Metrics]:
    """Several classes an image; arguments are those of `multi_label_losses`.

    Returns:
        The mean binary cross-entropy (nats) of all classes that count, over the batch; it as
        `loss`.
    """
    loss = _mean_of_counted(*multi_label_losses(logits_bk, labels_bk))
    return loss, {"loss": loss}


def mask_losses(logits_bhwk: Array, masks_bhw: Array) -> tuple[Array, Array]:
    """Returns the cross-entropies (nats), and which of them count, both [B, H, W].

    Args:
        logits_bhwk: [B, H, W, number of classes] float32.
        masks_bhw: integer classes, VOID where a pixel does not count.
    """
    counted = masks_bhw != VOID
    classes = jnp.where(counted, masks_bhw, 0)
    return optax.softmax_cross_entropy_with_integer_labels(logits_bhwk, classes), counted


def segmentation_loss(logits_bhwk: Array, masks_bhw: Array) -> tuple[Array, Metrics]:
    """A class for each pixel; arguments are those of `mask_losses`.

    Returns:
        The mean cross-entropy (nats) of the pixels that count, over the batch; it as `loss`, and
        `pixel_accuracy` (0 to 1).
    """
    losses, counted = mask_losses(logits_bhwk, masks_bhw)
    loss = _mean_of_counted(losses, counted)
    right = metrics.accuracy(logits_bhwk, masks_bhw)
    return loss, {"loss": loss, "pixel_accuracy": _mean_of_counted(right, counted)}


def _mean_of_counted(values: Array, counted: Array) -> Array:
    """The mean of what counts; 0 where nothing does."""
    return jnp.sum(jnp.where(counted, values, 0.0)) / jnp.maximum(jnp.sum(counted), 1)
