"""What pooled features know of the class: by their neighbours, and from a few labels."""

import math
import time
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression, RidgeClassifier

from symskip_jax.analysis.features import Extracted
from symskip_jax.analysis.neighbors import NEIGHBORS, knn_accuracy
from symskip_jax.analysis.standardize import measure_scale
from symskip_jax.data.splits import draw_labelled

# Labels a class, how often they are drawn, and the penalty: as `fit_softmax` has it, on features
# of about unit length. They are part of the protocol, so that figures can be compared.
SHOTS = (1, 2, 5, 10)
DRAWS = 10
FEW_SHOT_L2 = 1e-2
LINEAR_L2 = 1e-3
_MAX_ITERATIONS = 1000


def measure_neighbors(train: Extracted, test: Extracted) -> dict[str, Any]:
    """Measures `knn_accuracy`, with its k, on the features as they are.

    Args:
        train: labelled features.
        test: what is measured on.

    Returns:
        `accuracy` (0 to 1), `k`, `features` (how many an image has), `count` (images measured),
        `seconds`.
    """
    began = time.perf_counter()
    found = knn_accuracy(train.features_nd, train.labels_n, test.features_nd, test.labels_n)
    return {
        "accuracy": found,
        "k": min(NEIGHBORS, len(train.features_nd)),
        "features": train.features_nd.shape[1],
        "count": len(test.features_nd),
        "seconds": round(time.perf_counter() - began, 3),
    }


def measure_few_shot(train: Extracted, test: Extracted) -> dict[str, Any]:
    """Measures softmax regression on a few labels a class, drawn several times.

    Each feature is standardised over all training images, which takes no label, and divided by the
    square root of their number. Draw i of k labels is `draw_labelled` with seed i, the same for
    every network and layer. The penalty is not chosen, as there is nothing to choose it on.

    Args:
        train: labelled features to draw from; every class is there.
        test: what is measured on.

    Returns:
        `shots`, for each of `SHOTS` that the smallest class has: `k`, `accuracy` (mean over the
        draws, 0 to 1) and `std` (their standard deviation, n - 1); the last one's `k`, `accuracy`
        and `std` again; `draws`, `l2`, `features` (how many an image has), `count` (images
        measured), `seconds`.
    """
    began = time.perf_counter()
    inputs_nd, test_md = _scaled(train.features_nd, test.features_nd)
    classes, counts = np.unique(train.labels_n, return_counts=True)
    shots = []
    for k in (it for it in SHOTS if it <= counts.min()):
        accuracies = []
        for seed in range(DRAWS):
            drawn = draw_labelled(train.labels_n, k * len(classes), seed)
            model = _fit(inputs_nd[drawn], train.labels_n[drawn], FEW_SHOT_L2)
            accuracies.append(model.score(test_md, test.labels_n))
        mean, std = float(np.mean(accuracies)), float(np.std(accuracies, ddof=1))
        shots.append({"k": k, "accuracy": mean, "std": std})
    return {
        "shots": shots,
        **shots[-1],
        "draws": DRAWS,
        "l2": FEW_SHOT_L2,
        "features": inputs_nd.shape[1],
        "count": len(test_md),
        "seconds": round(time.perf_counter() - began, 3),
    }


def linear_accuracy(
    train_nd: np.ndarray,
    train_labels_n: np.ndarray,
    test_md: np.ndarray,
    test_labels_m: np.ndarray,
) -> float:
    """Returns the test accuracy, 0 to 1, of a linear classifier fitted by least squares.

    For a look while training runs: one solve instead of the hundreds of steps that softmax
    regression takes. It is scikit-learn's `RidgeClassifier` (targets of 1 and -1, one column a
    class), its penalty `LINEAR_L2` beside the mean over images; features are scaled as in
    `measure_few_shot`.

    Args:
        train_nd: float32 [N, D].
        train_labels_n: integer [N], of two classes at least.
        test_md: float32 [M, D].
        test_labels_m: integer [M].
    """
    inputs_nd, inputs_md = _scaled(train_nd, test_md)
    model = RidgeClassifier(alpha=LINEAR_L2 * len(inputs_nd), solver="cholesky")
    return float(model.fit(inputs_nd, train_labels_n).score(inputs_md, test_labels_m))


def _scaled(train_nd: np.ndarray, test_md: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scale, length = measure_scale([train_nd]), math.sqrt(train_nd.shape[1])
    inputs_nd, inputs_md = (
        np.float64(x - scale.mean_c) / scale.std_c / length for x in (train_nd, test_md)
    )
    return inputs_nd, inputs_md


def _fit(inputs_nd: np.ndarray, labels_n: np.ndarray, l2: float) -> LogisticRegression:
    # Its penalty is 1 / (2 C), beside the sum over images and not their mean.
    return LogisticRegression(C=1 / (l2 * len(inputs_nd)), max_iter=_MAX_ITERATIONS).fit(
        inputs_nd, labels_n
    )
