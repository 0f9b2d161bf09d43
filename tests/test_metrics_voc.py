"""The measures of PASCAL VOC, against scikit-learn and figures worked by hand."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, jaccard_score, precision_recall_curve

from symskip_jax import metrics


def interpolated(scores: np.ndarray, labels: np.ndarray) -> float:
    """The 11-point average precision of the curve that scikit-learn draws."""
    precision, recall, _ = precision_recall_curve(labels, scores)
    precision, recall = precision[:-1], recall[:-1]  # the last point is none of the data's
    return float(np.mean([precision[recall >= t - 1e-9].max() for t in np.linspace(0, 1, 11)]))


@pytest.mark.parametrize("positives", [1, 3, 10, 49])
def test_average_precision_is_that_of_scikit_learns_curve(positives):
    random = np.random.default_rng(positives)
    labels = np.concatenate([np.ones(positives, int), np.zeros(60 - positives, int)])
    scores = random.permutation(60) + 20.5 * labels  # no two alike
    found = metrics.average_precision(scores, labels)
    assert found == pytest.approx(interpolated(scores, labels))
    assert found > 0
    # Difficult ones count neither for nor against, wherever they are ranked.
    difficult = random.uniform(-10, 100, 15)
    with_difficult = metrics.average_precision(
        np.concatenate([difficult, scores]), np.concatenate([np.full(15, -1), labels])
    )
    assert with_difficult == found


def test_average_precision_of_a_case_worked_by_hand():
    scores, labels = np.array([0.9, 0.8, 0.7, 0.6, 0.5]), np.array([1, 0, -1, 1, 0])
    # Precision 1 up to recall 1/2, that is at 0 to 0.5, and 2/3 at 0.6 to 1.
    assert metrics.average_precision(scores, labels) == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)
    assert metrics.average_precision(-scores, labels) == pytest.approx(0.5)
    assert np.isnan(metrics.average_precision(scores, np.minimum(labels, 0)))


def test_confusion_is_scikit_learns_image_by_image_and_void_does_not_count():
    random = np.random.default_rng(0)
    masks = random.choice(np.array([0, 1, 3, 255], np.uint8), (2, 5, 6))
    predictions = random.integers(0, 3, masks.shape)
    found = metrics.confusion_matrices(jnp.asarray(predictions), jnp.asarray(masks), 5)
    for mask, predicted, matrix in zip(masks, predictions, found, strict=True):
        counted = mask != 255
        expected = confusion_matrix(mask[counted], predicted[counted], labels=range(5))
        np.testing.assert_array_equal(matrix, expected)
    unions = metrics.intersections_over_unions(np.asarray(found).sum(0))
    counted = masks != 255
    expected = jaccard_score(
        masks[counted], predictions[counted], labels=range(4), average=None, zero_division=0
    )
    np.testing.assert_allclose(unions[:4], expected)
    assert np.isnan(unions[4]) and unions[3] == 0  # never there, and there but never found
