"""Nearest neighbours among features, by cosine, and how well they tell the class."""

from typing import NamedTuple

import numpy as np
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

# The protocol of Wu et al. 2018 with the k of Caron et al. 2021 (DINO).
NEIGHBORS = 20
TEMPERATURE = 0.07


class Neighbors(NamedTuple):
    """The nearest images of each query, nearest first.

    indices_mk: int64 [M, k], their rows.
    cosines_mk: float32 [M, k], 1 for the same direction.
    """

    indices_mk: np.ndarray
    cosines_mk: np.ndarray


def nearest_neighbors(features_nd: np.ndarray, queries_md: np.ndarray | None, k: int) -> Neighbors:
    """Finds the k features of the largest cosine for each query.

    Args:
        features_nd: float32 [N, D].
        queries_md: float32 [M, D]; None for the features themselves, none its own neighbour.
        k: fewer are given where there are no more.
    """
    others = len(features_nd) - (queries_md is None)
    search = NearestNeighbors(n_neighbors=min(k, others), metric="cosine", algorithm="brute")
    distances_mk, indices_mk = search.fit(features_nd).kneighbors(queries_md)
    return Neighbors(indices_mk, (1 - distances_mk).astype(np.float32))


def knn_accuracy(
    train_nd: np.ndarray,
    train_labels_n: np.ndarray,
    test_md: np.ndarray,
    test_labels_m: np.ndarray,
    k: int = NEIGHBORS,
) -> float:
    """Returns the share of test images whose nearest neighbours vote for their class, 0 to 1.

    Each of the k neighbours of the largest cosine has exp(cosine / 0.07) votes; of equals the
    lowest class wins. Features are taken as they are, neither centred nor scaled.

    Args:
        train_nd: float32 [N, D].
        train_labels_n: integer [N].
        test_md: float32 [M, D].
        test_labels_m: integer [M].
        k: neighbours; all there are if fewer.
    """
    vote = KNeighborsClassifier(
        min(k, len(train_nd)), weights=_votes, metric="cosine", algorithm="brute"
    )
    return float(vote.fit(train_nd, train_labels_n).score(test_md, test_labels_m))


def _votes(distances_mk: np.ndarray) -> np.ndarray:
    # Less exp(1 / TEMPERATURE), which all have alike, so that float32 keeps the differences.
    return np.exp(-distances_mk.astype(np.float64) / TEMPERATURE)
