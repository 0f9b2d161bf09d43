"""What fine-tuning minimises."""

import numpy as np
import pytest

from symskip_jax.training.losses import classification_loss


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.6])
def test_label_smoothing_is_torchs(smoothing):
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    logits = random.normal(0, 3, (32, 7)).astype(np.float32)
    labels = random.integers(0, 7, 32).astype(np.int32)
    loss, measured = classification_loss(logits, labels, smoothing)
    expected = torch.nn.functional.cross_entropy(
        torch.tensor(logits), torch.tensor(labels).long(), label_smoothing=smoothing
    )
    np.testing.assert_allclose(loss, expected.item(), rtol=1e-5)
    assert measured["loss"] == loss
    np.testing.assert_allclose(measured["accuracy"], (logits.argmax(-1) == labels).mean())
