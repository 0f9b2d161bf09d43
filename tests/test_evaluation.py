"""Every image is measured exactly once, on its centre crop, whatever the batch size."""

import functools

import jax
import numpy as np
import pytest
import tiny
from skimage.metrics import peak_signal_noise_ratio
from sklearn.metrics import accuracy_score, log_loss

from symskip_jax.data.parts import parts_of
from symskip_jax.evaluation.batches import Parts, map_images
from symskip_jax.evaluation.classification import classification_evaluator
from symskip_jax.evaluation.reconstruction import (
    corrupt_for_evaluation,
    reconstruct,
    reconstruction_evaluator,
)
from symskip_jax.training.schedules import make_optimizer, milestone_schedule

DATA = tiny.make_batch(10, size=9)
CROP = (8, 8)
CENTRE = DATA["image"][:, :8, :8]
OPTIMIZER = make_optimizer(milestone_schedule(1e-3, (), 0.1, 1))


def parts(batch_size: int) -> Parts:
    return functools.partial(parts_of, DATA, batch_size)


@pytest.mark.parametrize("batch_size", [1, 3, 10, 16])
def test_every_image_is_visited_once_and_in_order(batch_size: int) -> None:
    found = map_images(
        lambda batch, indices: {"i": indices, "y": batch["label"]}, parts(batch_size)
    )
    np.testing.assert_array_equal(found["i"], np.arange(10))
    np.testing.assert_array_equal(found["y"], DATA["label"])


def test_accuracy_and_loss_are_scikit_learns_on_centre_crops() -> None:
    model = tiny.classifier(tiny.ONE_LAYER)
    variables = tiny.make_state(model, OPTIMIZER).variables
    logits = model.apply(variables, tiny.NORMALIZATION.normalize(CENTRE), train=False)
    for batch_size in (3, 16):
        evaluate = classification_evaluator(model, tiny.NORMALIZATION, CROP, parts(batch_size))
        found = evaluate(variables)
        assert found["count"] == 10
        labels = DATA["label"]
        assert found["accuracy"] == pytest.approx(accuracy_score(labels, logits.argmax(1)))
        expected = log_loss(labels, jax.nn.softmax(logits), labels=range(tiny.CLASSES))
        assert found["loss"] == pytest.approx(expected, rel=1e-5)


def test_psnr_is_scikit_images_beside_that_of_the_clipped_input() -> None:
    model = tiny.autoencoder(tiny.ONE_LAYER)
    variables = tiny.make_state(model, OPTIMIZER).variables
    corrupted = corrupt_for_evaluation(tiny.NOISE, np.arange(10), CENTRE.astype(np.float32))
    rebuilt = reconstruct(model, variables, tiny.NORMALIZATION, corrupted)
    clean = CENTRE.astype(np.float64)

    def mean_psnr(images: np.ndarray) -> float:
        pairs = zip(clean, np.asarray(images, np.float64), strict=True)
        return float(np.mean([peak_signal_noise_ratio(c, i, data_range=255) for c, i in pairs]))

    for batch_size in (3, 16):
        evaluate = reconstruction_evaluator(
            model, tiny.NORMALIZATION, tiny.NOISE, CROP, parts(batch_size)
        )
        found = evaluate(variables)
        assert found["count"] == 10
        assert found["psnr"] == pytest.approx(mean_psnr(rebuilt), rel=1e-5)
        assert found["psnr_identity"] == pytest.approx(
            mean_psnr(np.clip(corrupted, 0, 255)), rel=1e-5
        )
