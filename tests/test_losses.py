"""What the tasks minimise, against torch."""

import jax
import numpy as np
import pytest
from torch_reference import torch

from symskip_jax.training.losses import (
    classification_loss,
    multi_label_loss,
    segmentation_loss,
)


def test_several_classes_have_torchs_binary_cross_entropy_without_the_difficult_ones():
    random = np.random.default_rng(0)
    logits = random.normal(0, 3, (6, 5)).astype(np.float32)
    labels = random.integers(-1, 2, logits.shape).astype(np.int8)
    counted = labels >= 0
    differentiate = jax.value_and_grad(multi_label_loss, has_aux=True)
    (loss, (measured, weight)), gradient = differentiate(logits, labels)
    theirs = torch.tensor(logits, requires_grad=True)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        theirs[torch.tensor(counted)], torch.tensor(labels[counted], dtype=torch.float32)
    )
    expected.backward()
    assert float(loss) == measured["loss"] == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(gradient, theirs.grad, atol=1e-6)
    assert weight == counted.sum()
    assert not multi_label_loss(logits, np.full_like(labels, -1))[0]


def test_masks_have_torchs_cross_entropy_without_void():
    random = np.random.default_rng(0)
    logits = random.normal(0, 3, (2, 4, 5, 3)).astype(np.float32)
    masks = random.choice(np.array([0, 1, 2, 255], np.int32), (2, 4, 5))
    differentiate = jax.value_and_grad(segmentation_loss, has_aux=True)
    (loss, (measured, weight)), gradient = differentiate(logits, masks)
    theirs = torch.tensor(logits, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(
        theirs.permute(0, 3, 1, 2), torch.tensor(masks, dtype=torch.int64), ignore_index=255
    )
    expected.backward()
    assert float(loss) == measured["loss"] == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(gradient, theirs.grad, atol=1e-6)
    counted = masks != 255
    assert weight == counted.sum()
    right = (logits.argmax(-1) == masks)[counted]
    assert float(measured["pixel_accuracy"]) == pytest.approx(right.mean())


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.6])
def test_label_smoothing_is_torchs(smoothing):
    random = np.random.default_rng(0)
    logits = random.normal(0, 3, (32, 7)).astype(np.float32)
    labels = random.integers(0, 7, 32).astype(np.int32)
    loss, (measured, weight) = classification_loss(logits, labels, smoothing)
    assert weight == len(labels)
    expected = torch.nn.functional.cross_entropy(
        torch.tensor(logits), torch.tensor(labels).long(), label_smoothing=smoothing
    )
    np.testing.assert_allclose(loss, expected.item(), rtol=1e-5)
    assert measured["loss"] == loss
    np.testing.assert_allclose(measured["accuracy"], (logits.argmax(-1) == labels).mean())
