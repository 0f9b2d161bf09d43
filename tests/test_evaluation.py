"""The protocols of evaluation, beside scikit-learn and scikit-image."""

import numpy as np
import pytest
import tiny
from scipy.special import softmax
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from sklearn.metrics import accuracy_score, log_loss

from symskip_jax.evaluation.batches import map_images
from symskip_jax.evaluation.classification import classification_evaluator
from symskip_jax.evaluation.reconstruction import (
    corrupt_for_evaluation,
    reconstruct,
    reconstruction_evaluator,
)

COUNT, SIZE, CROP = 10, 17, (12, 13)
BATCH_SIZES = [1, 3, 7, COUNT, COUNT + 5]
DATA = tiny.make_batch(COUNT, SIZE)
# The central window, one pixel up and left where it cannot be exact.
CENTRES = DATA["image"][:, 2:14, 2:15]


# Every image once.


@pytest.mark.parametrize("batch_size", BATCH_SIZES)
def test_every_image_is_measured_once_in_order_in_batches_of_one_size(batch_size):
    sizes = set()

    def measure(batch, indices):
        assert len(batch["label"]) == len(indices)
        sizes.add(len(indices))
        return {"index": indices, "sum": batch["image"].sum((1, 2, 3)), "label": batch["label"]}

    results = map_images(measure, DATA, batch_size)
    np.testing.assert_array_equal(results["index"], np.arange(COUNT))
    np.testing.assert_array_equal(results["sum"], DATA["image"].sum((1, 2, 3)))
    np.testing.assert_array_equal(results["label"], DATA["label"])
    assert sizes == {batch_size}  # or it would be compiled anew


# Classification.

CLASSIFIER = tiny.classifier(tiny.ONE_LAYER)
CLASSIFIER_STATE = tiny.make_state(CLASSIFIER, tiny.sgd(1.0))


def classify(data=DATA, batch_size=COUNT):
    evaluate = classification_evaluator(CLASSIFIER, tiny.NORMALIZATION, CROP, data, batch_size)
    return evaluate(CLASSIFIER_STATE.variables)


@pytest.mark.parametrize("batch_size", BATCH_SIZES)
def test_accuracy_and_loss_on_centre_crops_are_those_of_scikit_learn(batch_size):
    figures = classify(batch_size=batch_size)
    pixels = tiny.NORMALIZATION.normalize(CENTRES)
    logits = np.asarray(CLASSIFIER.apply(CLASSIFIER_STATE.variables, pixels, train=False))
    expected = accuracy_score(DATA["label"], logits.argmax(-1))
    assert 0 < expected < 1  # or it would tell little
    assert figures["count"] == COUNT
    np.testing.assert_allclose(figures["accuracy"], expected, rtol=1e-6)
    chances = softmax(logits.astype(np.float64), axis=-1)
    loss = log_loss(DATA["label"], chances, labels=range(tiny.CLASSES))
    np.testing.assert_allclose(figures["loss"], loss, rtol=1e-5)


def test_nothing_outside_the_centre_counts():
    images = 255 - DATA["image"]
    images[:, 2:14, 2:15] = CENTRES
    assert classify({**DATA, "image": images}) == classify()


# Reconstruction.

AUTOENCODER = tiny.autoencoder(tiny.ONE_LAYER)
AUTOENCODER_STATE = tiny.make_state(AUTOENCODER, tiny.sgd(1.0))


def measure_reconstructions(batch_size=COUNT, corruption=tiny.NOISE):
    evaluate = reconstruction_evaluator(
        AUTOENCODER, tiny.NORMALIZATION, corruption, CROP, DATA, batch_size
    )
    return evaluate(AUTOENCODER_STATE.variables)


def mean_over_images(measure, images, **kwargs):
    pairs = zip(CENTRES.astype(np.float64), np.asarray(images, np.float64), strict=True)
    return np.mean([measure(clean, image, data_range=255, **kwargs) for clean, image in pairs])


@pytest.mark.parametrize("batch_size", [3, COUNT, COUNT + 5])
def test_psnr_and_ssim_are_those_of_scikit_image_beside_the_clipped_input(batch_size):
    figures = measure_reconstructions(batch_size)
    assert figures["count"] == COUNT

    corrupted = corrupt_for_evaluation(
        tiny.NOISE, np.arange(COUNT), np.asarray(CENTRES, np.float32)
    )
    clipped = np.clip(corrupted, 0, 255)
    assert (clipped != corrupted).any()
    variables = AUTOENCODER_STATE.variables
    rebuilt = np.asarray(reconstruct(AUTOENCODER, variables, tiny.NORMALIZATION, corrupted))
    assert rebuilt.min() == 0 and rebuilt.max() == 255  # clipped too
    settings = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=-1)
    for name, images in (("", rebuilt), ("_identity", clipped)):
        psnr = mean_over_images(peak_signal_noise_ratio, images)
        np.testing.assert_allclose(figures[f"psnr{name}"], psnr, rtol=1e-5)
        ssim = mean_over_images(structural_similarity, images, **settings)
        np.testing.assert_allclose(figures[f"ssim{name}"], ssim, atol=1e-5)

    normalized = tiny.NORMALIZATION.normalize(corrupted)
    output = np.asarray(AUTOENCODER.apply(variables, normalized, train=False))
    loss = np.mean((output - np.asarray(tiny.NORMALIZATION.normalize(CENTRES))) ** 2)
    np.testing.assert_allclose(figures["loss"], loss, rtol=1e-5)


def test_an_image_is_corrupted_alike_in_every_call_and_company():
    clean = np.asarray(CENTRES, np.float32)
    corrupted = corrupt_for_evaluation(tiny.NOISE, np.arange(COUNT), clean)
    some = np.array([7, 2])
    np.testing.assert_array_equal(
        corrupt_for_evaluation(tiny.NOISE, some, clean[some]), corrupted[some]
    )
    noise = (corrupted - clean).reshape(COUNT, -1)
    assert len(np.unique(np.round(noise, 3), axis=0)) == COUNT
    assert measure_reconstructions() == measure_reconstructions()


def test_without_corruption_the_identity_is_perfect():
    figures = measure_reconstructions(corruption=tiny.NO_CORRUPTION)
    assert figures["psnr_identity"] == 100.0  # the ceiling of `psnr`
    np.testing.assert_allclose(figures["ssim_identity"], 1.0, atol=1e-5)
    assert figures["psnr"] < 50 and figures["ssim"] < 0.99
