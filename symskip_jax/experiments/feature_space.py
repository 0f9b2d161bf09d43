"""Where images lie in a network's feature space: their nearest neighbours, and all in a plane."""

import functools
from collections.abc import Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from symskip_jax.analysis.embedding import LEAST_IMAGES, Method, draw_embedding, embed
from symskip_jax.analysis.features import extract_features
from symskip_jax.analysis.frozen import FrozenNetwork
from symskip_jax.analysis.neighbors import Neighbors, nearest_neighbors
from symskip_jax.analysis.page import paragraph_html, picture_file_html, section_html
from symskip_jax.analysis.sheets import Row, draw_sheet
from symskip_jax.data.base import UNLABELLED
from symskip_jax.errors import UserError
from symskip_jax.experiments.inputs import Input
from symskip_jax.experiments.shown import as_bytes, short_name
from symskip_jax.training.workdir import write_json

# That are put into feature space, evenly from all of a split.
FEATURE_IMAGES = 1000
_BATCH = 100
_NEIGHBORS = 6


def draw_feature_space(
    network: FrozenNetwork, layer: str, data: Input, images: int, method: Method, out: Path
) -> list[str]:
    """Draws nearest neighbours and an embedding of the mean activations of a layer.

    Writes `neighbors.png`, `neighbors.json`, `embedding.png` and `embedding.svg`.

    Args:
        network: whose features.
        layer: that they are taken of, averaged over positions.
        data: the images.
        images: how many have their neighbours drawn.
        method: of the embedding.
        out: folder to write to, which is there.

    Returns:
        Two sections for a page, or one that says why there are none.

    Raises:
        UserError: the network's activations are not finite.
    """
    count = min(len(data), FEATURE_IMAGES)
    sample = data.take(np.unique(np.linspace(0, len(data) - 1, count).round().astype(int)))
    parts = functools.partial(sample.parts, min(count, _BATCH))
    found = extract_features(network, layer, parts)
    if not np.isfinite(found.features_nd).all():
        raise UserError(f"activations of {layer} are not finite: take another --step")
    if len(found.features_nd) < LEAST_IMAGES:
        few = f"{LEAST_IMAGES} images at the least are needed for neighbours and an embedding."
        return [section_html("Nearest neighbours", paragraph_html(few))]
    labels_n = np.asarray(found.labels_n)
    is_class = data.source.features.label_kind == "class"
    if not is_class or (labels_n == UNLABELLED).all():
        labels_n = None
    names = data.source.class_names
    neighbors = nearest_neighbors(found.features_nd, None, _NEIGHBORS)
    numbers = {"layer": layer, "images": len(found.features_nd), "of": data.name}
    if labels_n is not None:
        numbers |= _same_class(neighbors, labels_n)
    write_json(out / "neighbors.json", numbers)
    queries = np.unique(np.linspace(0, len(found.features_nd) - 1, images).round().astype(int))
    _draw_neighbors(
        out / "neighbors.png", network, sample, found.indices_n, neighbors, queries, labels_n, names
    )
    embedding = embed(found.features_nd, method)
    draw_embedding(out / "embedding", embedding, labels_n, names)
    features = (
        f"Features are the means over positions of {layer}, {found.features_nd.shape[1]} of them, "
        f"of {len(found.features_nd)} images, evenly from all of {data.name}."
    )
    told = ""
    if "same_class" in numbers:
        told = (
            f" Of the {neighbors.indices_mk.shape[1]} nearest, {numbers['same_class']:.0%} are of "
            f"the image's own class; {numbers['by_chance']:.0%} would be by chance."
        )
        if numbers["labelled"] < numbers["images"]:
            told += f" Only the {numbers['labelled']:,} images with a label count, on both sides."
    print(f"features of {layer}, {numbers['images']:,} images of {data.name}.{told}")
    return [
        section_html(
            "Nearest neighbours",
            paragraph_html(features),
            picture_file_html(
                out / "neighbors.png",
                "Images, and those nearest to them in feature space",
                "Left the image, then those nearest to it by the cosine between their features, "
                "which stands under each"
                + (" with its class." if labels_n is not None else ".")
                + told,
            ),
        ),
        section_html(
            "Features in a plane",
            picture_file_html(
                out / "embedding.png",
                "A dot for each image, near those with like features",
                f"A dot an image{', coloured by its class' if labels_n is not None else ''}: "
                f"{embedding.settings}, of features brought to length 1.",
            ),
        ),
    ]


def _same_class(neighbors: Neighbors, labels_n: np.ndarray) -> dict[str, float]:
    """Returns the share of neighbours with the image's class, and that of all other images.

    Of labelled images and their labelled neighbours, `labelled` images in all; empty where there
    is no such pair.
    """
    is_known_n = labels_n != UNLABELLED
    theirs_mk = labels_n[neighbors.indices_mk]
    counts_mk = is_known_n[:, None] & (theirs_mk != UNLABELLED)
    if not counts_mk.any():
        return {}
    same_mk = theirs_mk == labels_n[:, None]
    labelled = int(is_known_n.sum())
    sizes = np.unique(labels_n[is_known_n], return_counts=True)[1]
    return {
        "labelled": labelled,
        "same_class": float(same_mk[counts_mk].mean()),
        "by_chance": float((sizes * (sizes - 1)).sum() / (labelled * (labelled - 1))),
    }


def _draw_neighbors(
    path: Path,
    network: FrozenNetwork,
    sample: Input,
    indices_n: np.ndarray,
    neighbors: Neighbors,
    queries: np.ndarray,
    labels_n: np.ndarray | None,
    class_names: Sequence[str] | None,
) -> None:
    places = np.concatenate([queries[:, None], neighbors.indices_mk[queries]], axis=1)
    wanted, at = np.unique(places, return_inverse=True)
    pixels = sample.take(np.asarray(indices_n)[wanted]).first(len(wanted))
    shown = as_bytes(network.cropped(jnp.asarray(pixels)))[at.reshape(places.shape)]

    def name(place: int) -> str:
        if labels_n is None or class_names is None or labels_n[place] < 0:
            return ""
        return short_name(class_names[int(labels_n[place])])

    groups = []
    for images, row, query in zip(shown, places, queries, strict=True):
        cosines = neighbors.cosines_mk[query]
        # Nearest neighbours are often alike to the third decimal.
        captions = [
            f"{name(place)}\n{cosine:.4f}".lstrip()
            for cosine, place in zip(cosines, row[1:], strict=True)
        ]
        groups.append([Row("", images, [name(query), *captions])])
    count = neighbors.indices_mk.shape[1]
    draw_sheet(groups, path, ["image", "nearest", *[""] * (count - 1)])
