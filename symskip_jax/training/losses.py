"""What fine-tuning minimises, task by task: pure functions of outputs and labels."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from symskip_jax import metrics
from symskip_jax.data.base import VOID

Metrics = dict[str, Array]
# Means over a batch by name, each [], and over how many values they are: what they weigh beside
# those of another part of the same batch.
Measured = tuple[Metrics, Array | int]
# (outputs, labels) -> (loss [], measured), the loss a mean like the others
TaskLoss = Callable[[Any, Any], tuple[Array, Measured]]


def classification_loss(
    logits: Array, labels: Array, label_smoothing: float = 0.0
) -> tuple[Array, Measured]:
    """One class an image (sections 5.2 and 5.3), by cross-entropy; the paper names no loss.

    Label smoothing (Szegedy et al. 2016) is not of the paper.

    Args:
        logits: [B, number of classes] float32.
        labels: [B] int32.
        label_smoothing: share of the target that all classes have alike; the label has the rest.

    Returns:
        The mean cross-entropy (nats) with the targets; it as `loss`, and `accuracy` (0 to 1), over
        B images.
    """
    if label_smoothing == 0:
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    else:
        targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), label_smoothing)
        losses = optax.softmax_cross_entropy(logits, targets)
    loss = losses.mean()
    measured = {"loss": loss, "accuracy": metrics.accuracy(logits, labels).mean()}
    return loss, (measured, len(labels))


def multi_label_losses(logits_bk: Array, labels_bk: Array) -> tuple[Array, Array]:
    """Returns the binary cross-entropies (nats), and which of them count, both [B, K].

    Args:
        logits_bk: [B, number of classes] float32.
        labels_bk: integer: 1 where a class is there, 0 where not, -1 where it does not count.
    """
    losses = optax.sigmoid_binary_cross_entropy(logits_bk, (labels_bk == 1).astype(jnp.float32))
    return losses, labels_bk >= 0


def multi_label_loss(logits_bk: Array, labels_bk: Array) -> tuple[Array, Measured]:
    """Several classes an image (section 5.4.1), by binary cross-entropy; the paper names no loss.

    Args:
        logits_bk: [B, number of classes] float32.
        labels_bk: [B, number of classes] integer: 1 where a class is there, 0 where not, -1 where
            it does not count.

    Returns:
        The mean binary cross-entropy (nats) of all classes that count, over the batch; it as
        `loss`, and how many count.
    """
    losses, counted = multi_label_losses(logits_bk, labels_bk)
    loss = _mean_of_counted(losses, counted)
    return loss, ({"loss": loss}, jnp.sum(counted))


def mask_losses(logits_bhwk: Array, masks_bhw: Array) -> tuple[Array, Array]:
    """Returns the cross-entropies (nats), and which of them count, both [B, H, W].

    Args:
        logits_bhwk: [B, H, W, number of classes] float32.
        masks_bhw: integer classes, VOID where a pixel does not count.
    """
    counted = masks_bhw != VOID
    classes = jnp.where(counted, masks_bhw, 0)
    return optax.softmax_cross_entropy_with_integer_labels(logits_bhwk, classes), counted


def segmentation_loss(logits_bhwk: Array, masks_bhw: Array) -> tuple[Array, Measured]:
    """A class for each pixel (section 5.4.2), by cross-entropy; the paper names no loss.

    Args:
        logits_bhwk: [B, H, W, number of classes] float32.
        masks_bhw: [B, H, W] integer classes, 255 where a pixel does not count.

    Returns:
        The mean cross-entropy (nats) of the pixels that count, over the batch; it as `loss`, and
        `pixel_accuracy` (0 to 1); and how many count.
    """
    losses, counted = mask_losses(logits_bhwk, masks_bhw)
    loss = _mean_of_counted(losses, counted)
    right = metrics.accuracy(logits_bhwk, masks_bhw)
    measured = {"loss": loss, "pixel_accuracy": _mean_of_counted(right, counted)}
    return loss, (measured, jnp.sum(counted))


def _mean_of_counted(values: Array, counted: Array) -> Array:
    """The mean of what counts; 0 where nothing does."""
    return jnp.sum(jnp.where(counted, values, 0.0)) / jnp.maximum(jnp.sum(counted), 1)
