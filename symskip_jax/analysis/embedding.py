"""Features of images in a plane, by scikit-learn, coloured by class."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from symskip_jax.analysis.figures import save_figure
from symskip_jax.data.base import UNLABELLED

Method = Literal["tsne", "pca"]
METHODS: tuple[Method, ...] = get_args(Method)
# Of t-SNE, its authors' usual one; fewer where there are few images.
PERPLEXITY = 30
LEAST_IMAGES = 4
# That are told apart; the images of the others are grey.
_MOST_CLASSES = 12
_MARKERS = "os^Dv"
# Paul Tol's muted ones, which the colour-blind tell apart, and black.
_COLOURS = (
    *("#332288", "#88CCEE", "#117733", "#DDCC77", "#CC6677", "#44AA99", "#882255", "#999933"),
    *("#AA4499", "#000000"),
)
_GREY = "#9aa3aa"


class Embedding(NamedTuple):
    """Places in a plane, float64 [N, 2]; how they were found, and what the two axes say."""

    points_n2: np.ndarray
    settings: str
    axes: tuple[str, str]


def embed(features_nd: np.ndarray, method: Method) -> Embedding:
    """Puts features of images into a plane.

    They are brought to length 1 first, so that only their directions count, as for neighbours.

    Args:
        features_nd: [N, D], N >= 4, D >= 2.
        method: `tsne` (those that are near stay near) or `pca` (the two directions along which they
            vary most).
    """
    lengths = np.linalg.norm(features_nd.astype(np.float64), axis=1, keepdims=True)
    unit = features_nd / np.where(lengths > 0, lengths, 1)
    if method == "pca":
        pca = PCA(2, svd_solver="full")
        points = pca.fit_transform(unit)
        shares = np.nan_to_num(pca.explained_variance_ratio_)
        first, second = (f"{share:.0%} of the variance" for share in shares)
        axes = f"first component, {first}", f"second component, {second}"
        return Embedding(points, f"scikit-learn's PCA, {shares.sum():.0%} of the variance", axes)
    perplexity = min(PERPLEXITY, (len(unit) - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, init="pca", learning_rate="auto", random_state=0)
    settings = f"perplexity {perplexity:.3g}, begun from PCA, seed 0"
    axes = "near is alike; axes, and distances between groups, mean nothing", ""
    return Embedding(tsne.fit_transform(unit), f"scikit-learn's t-SNE, {settings}", axes)


def draw_embedding(
    path: Path,
    embedding: Embedding,
    labels_n: np.ndarray | None,
    class_names: Sequence[str] | None,
) -> None:
    """Writes `path`.png and `path`.svg: a dot an image, a colour and a shape a class.

    Args:
        path: without a suffix.
        embedding: of N images.
        labels_n: integer [N], -1 where an image has no label; or None.
        class_names: of the classes; the most frequent are told apart.
    """
    figure = Figure(figsize=(7.2, 5.2), dpi=110, layout="constrained")
    axes = figure.subplots()
    points_n2 = embedding.points_n2
    labels_n = np.full(len(points_n2), UNLABELLED) if labels_n is None else labels_n
    is_known_n = labels_n != UNLABELLED
    classes, counts = np.unique(labels_n[is_known_n], return_counts=True)
    kept = np.sort(classes[np.argsort(-counts, kind="stable")][:_MOST_CLASSES])
    grey = {
        "no label": ("x", ~is_known_n),
        "other classes": ("o", is_known_n & ~np.isin(labels_n, kept)),
    }
    for name, (marker, is_it_n) in grey.items():
        if is_it_n.any():
            # Where no image has a label there is no legend, and nothing to tell apart.
            marker = marker if len(kept) else "o"
            places = points_n2[is_it_n].T
            axes.plot(*places, marker, color=_GREY, markersize=3, alpha=0.5, label=name)
    names = [str(it if class_names is None else class_names[it]) for it in kept.tolist()]
    for index, (label, name) in enumerate(zip(kept, names, strict=True)):
        # From the eleventh class on colours come again, with another shape.
        around, place = divmod(index, len(_COLOURS))
        axes.plot(
            *points_n2[labels_n == label].T,
            _MARKERS[(place + around) % len(_MARKERS)],
            color=_COLOURS[place],
            markersize=4,
            alpha=0.7,
            markeredgewidth=0,
            label=name,
        )
    axes.set_aspect("equal", "datalim")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel(embedding.axes[0])
    axes.set_ylabel(embedding.axes[1])
    if len(kept):
        legend = figure.legend(loc="outside right upper", frameon=False, markerscale=1.6)
        for text in legend.get_texts():
            text.set_parse_math(False)  # a class may be called anything
    save_figure(figure, path)
