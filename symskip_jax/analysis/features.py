"""The features that a frozen network has of images: one row an image."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from symskip_jax.analysis.frozen import FrozenNetwork
from symskip_jax.evaluation.batches import Parts, map_images
from symskip_jax.training.compilation import compiler_options
from symskip_jax.training.steps import Batch

# (variables, pixels [B, H, W, C], 0 to 255) -> float32 [B, D], compiled.
ComputeFeatures = Callable[[Mapping[str, Any], Any], Array]

GLOBAL_AVERAGE = 1


class Extracted(NamedTuple):
    """The features of the images of a dataset, in its order, without those that are broken.

    features_nd: float32 [N, D].
    labels_n: as the source has them: int32 [N], -1 for an image without a label.
    indices_n: integer [N], the place of each image in the source.
    """

    features_nd: np.ndarray
    labels_n: np.ndarray
    indices_n: np.ndarray


def extract_features(
    network: FrozenNetwork, layer: str, parts: Parts, grid: int = GLOBAL_AVERAGE
) -> Extracted:
    """Computes the features of a whole dataset, in batches.

    Args:
        network: that they are taken of.
        layer: any name of `symskip_jax.models.activations`.
        parts: a pass over the dataset: `image`, uint8 [B, H, W, C], and `label`.
        grid: see `flat_features`.
    """
    compute = feature_function(network, layer, grid)

    def measure(batch: Batch, indices_b: Any) -> dict[str, Any]:
        features_bd = compute(network.variables, batch["image"])
        return {"features": features_bd, "label": batch["label"], "index": indices_b}

    found = map_images(measure, parts)
    return Extracted(found["features"], found["label"], found["index"])


def feature_function(
    network: FrozenNetwork, layer: str, grid: int = GLOBAL_AVERAGE
) -> ComputeFeatures:
    """Returns what computes the features of a batch; of the network's layout, not its variables.

    Args:
        network: central crops are taken and normalised as it says.
        layer: any name of `symskip_jax.models.activations`.
        grid: see `flat_features`.
    """

    @functools.partial(jax.jit, compiler_options=compiler_options())
    def compute(variables: Mapping[str, Any], images_bhwc: Array) -> Array:
        return flat_features(network.activation(variables, layer, images_bhwc), grid)

    return compute


def flat_features(activation: Array, grid: int = GLOBAL_AVERAGE) -> Array:
    """Returns float32 [B, D], flattened in the order rows, columns, channels.

    Args:
        activation: float32 [B, h, w, C], or [B, D] of a layer without positions: left as it is.
        grid: 1 for the mean over all positions (D = C); g for the means over g x g cells; 0 for
            the whole activation (D = h * w * C).
    """
    if activation.ndim == 4:
        activation = pooled(activation, grid)
    return activation.reshape(len(activation), -1)


def pooled(activation_bhwc: Array, grid: int) -> Array:
    """Returns the means [B, g, g, C] over g x g cells of an activation; grid 0 leaves it whole.

    Cells are as even as whole positions allow; a side shorter than the grid is left as it is.
    """
    if grid:
        for axis in (1, 2):
            size = activation_bhwc.shape[axis]
            edges = np.linspace(0, size, min(grid, size) + 1).round().astype(int)
            cells = np.zeros((len(edges) - 1, size), np.float32)
            for cell, (low, high) in zip(cells, zip(edges, edges[1:], strict=False), strict=True):
                cell[low:high] = 1 / (high - low)
            mean = jnp.tensordot(activation_bhwc, cells, (axis, 1), precision="highest")
            activation_bhwc = jnp.moveaxis(mean, -1, axis)
    return activation_bhwc
