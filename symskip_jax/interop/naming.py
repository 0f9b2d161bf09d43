"""Flax trees under the names and in the layouts of torch, and back; NumPy alone.

`encoder/0/conv/kernel` (HWIO) is `encoder.0.conv.weight` (OIHW), and so on; docs/export.md has the
whole table.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np

Tree = Mapping[str, Any]
_Layout = Literal["same", "conv", "deconv", "linear", "pointwise", "flattened"]

_NAMES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}


def to_torch(tree: Tree, head: str | None = None) -> dict[str, np.ndarray]:
    """Returns the arrays of a Flax tree as torch has them.

    Args:
        tree: nested dicts of arrays: parameters, gradients or statistics of a whole network.
        head: of a classifier, see `symskip_jax.models.specs.Spec`; None for other networks.

    Returns:
        Contiguous arrays of the same dtypes, by name.
    """
    return {
        _name(path): np.ascontiguousarray(_reorder(array, _layout(path, array.ndim, head), tree))
        for path, array in ((path, np.asarray(leaf)) for path, leaf in leaves(tree))
    }


def torch_shapes(tree: Tree, head: str | None = None) -> dict[str, tuple[int, ...]]:
    """Returns the shapes that `to_torch` would give; the leaves need no more than a `shape`."""
    return {
        _name(path): _shape(tuple(leaf.shape), _layout(path, len(leaf.shape), head))
        for path, leaf in leaves(tree)
    }


def from_torch(
    arrays: Mapping[str, np.ndarray], like: Tree, head: str | None = None
) -> dict[str, Any]:
    """Returns what `to_torch` was given.

    Args:
        arrays: by name, of the shapes that `torch_shapes` tells of `like`; others are left out.
        like: the Flax tree; its leaves need no more than a `shape`.
        head: as above.
    """
    tree: dict[str, Any] = {}
    for path, leaf in leaves(like):
        array = arrays[_name(path)]
        layout = _layout(path, len(leaf.shape), head)
        node = tree
        for key in path[:-1]:
            node = node.setdefault(key, {})
        node[path[-1]] = np.ascontiguousarray(_restore(array, layout, like))
    return tree


def leaves(tree: Tree, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yields the path and the value of every leaf of nested dicts."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def _name(path: tuple[str, ...]) -> str:
    return ".".join([*path[:-1], _NAMES.get(path[-1], path[-1])])


def _layout(path: tuple[str, ...], ndim: int, head: str | None) -> _Layout:
    if path[-1] != "kernel":
        return "same"
    module = path[-2]
    if ndim == 4:
        return "deconv" if module == "deconv" else "conv"
    if module == "fc0":
        return "flattened"
    return "pointwise" if module == "classes" and head == "conv_pool" else "linear"


def _shape(shape: tuple[int, ...], layout: _Layout) -> tuple[int, ...]:
    if layout == "conv":
        height, width, fan_in, fan_out = shape
        return fan_out, fan_in, height, width
    if layout == "deconv":
        height, width, fan_in, fan_out = shape
        return fan_in, fan_out, height, width
    if layout == "same":
        return shape
    return (*reversed(shape), 1, 1) if layout == "pointwise" else (*reversed(shape),)


def _reorder(array: np.ndarray, layout: _Layout, tree: Tree) -> np.ndarray:
    if layout == "conv":
        return array.transpose(3, 2, 0, 1)
    if layout == "deconv":
        return array.transpose(2, 3, 0, 1)
    if layout == "same":
        return array
    if layout == "pointwise":  # a product at each position
        return array.T[:, :, None, None]
    if layout == "linear":
        return array.T
    # Flax flattens rows, columns, channels; torch channels first.
    units, channels = array.shape[1], _features(tree)
    return array.T.reshape(units, -1, channels).swapaxes(1, 2).reshape(units, -1)


def _restore(array: np.ndarray, layout: _Layout, like: Tree) -> np.ndarray:
    if layout == "conv":
        return array.transpose(2, 3, 1, 0)
    if layout == "deconv":
        return array.transpose(2, 3, 0, 1)
    if layout == "same":
        return array
    if layout == "pointwise":
        return array[:, :, 0, 0].T
    if layout == "linear":
        return array.T
    units, channels = array.shape[0], _features(like)
    return array.reshape(units, channels, -1).swapaxes(1, 2).reshape(units, -1).T


def _features(tree: Tree) -> int:
    """Returns the channels of the deepest features."""
    encoder = tree["encoder"]
    return encoder[max(encoder, key=int)]["conv"]["kernel"].shape[-1]
