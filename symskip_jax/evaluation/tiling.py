"""Applies a network to an image of any size, piece by piece, as if it were applied to the whole.

What a network makes of a pixel depends on what lies within its reach (`Spec.radius`). So pieces
that overlap by twice that, of which the borders are thrown away, give what the whole image would
give, but for rounding: at the edges of the image a piece ends where the image does, and pieces
start at multiples of the network's stride, where their grids of features fall on one another.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from symskip_jax.errors import UserError


class Span(NamedTuple):
    """A piece of one axis, in pixels: [start, stop) is computed, [first, last) of it is kept."""

    start: int
    stop: int
    first: int
    last: int


def spans(size: int, tile: int, overlap: int, stride: int) -> list[Span]:
    """Cuts an axis into pieces; what they keep covers it once.

    All but the last piece are `tile` long, so that few shapes are compiled; the last is as long or
    up to `stride` - 1 shorter. An axis that is no longer than a tile is one piece.

    Args:
        size: pixels of the axis.
        tile: pixels of a piece, at most.
        overlap: pixels that neighbours share, at least; half of them are thrown away on either
            side of a cut.
        stride: every piece starts at a multiple of it.

    Raises:
        UserError: pieces of this size would not get on.
    """
    if size <= tile:
        return [Span(0, size, 0, size)]
    margin = -(-overlap // 2)
    step = (tile - 2 * margin) // stride * stride
    if step <= 0:
        raise UserError(
            f"--tile {tile} is too small for pieces that overlap by {2 * margin} pixels; "
            f"choose {2 * margin + stride} or more"
        )
    final = -(-(size - tile) // stride) * stride
    starts = [*range(0, final, step), final]
    kept = [0, *(start + tile - margin for start in starts[:-1]), size]
    return [
        Span(start, min(start + tile, size), first, last)
        for start, first, last in zip(starts, kept[:-1], kept[1:], strict=True)
    ]


def map_tiles(
    network: Callable[[np.ndarray], np.ndarray],
    image_hwc: np.ndarray,
    *,
    tile: int,
    overlap: int,
    stride: int,
) -> np.ndarray:
    """Applies a network to an image in pieces.

    Args:
        network: [1, h, w, C] -> [1, h, w, D], for any h and w up to `tile`.
        image_hwc: [H, W, C].
        tile: height and width of a piece, at most: what memory the network needs.
        overlap: of neighbours, in pixels: twice the network's reach for an exact result.
        stride: of the network's deepest features, in pixels.

    Returns:
        [H, W, D], of the dtype that the network gives.

    Raises:
        UserError: as `spans`.
    """
    height, width = image_hwc.shape[:2]
    whole: np.ndarray | None = None
    for rows in spans(height, tile, overlap, stride):
        for columns in spans(width, tile, overlap, stride):
            piece = image_hwc[rows.start : rows.stop, columns.start : columns.stop]
            result = np.asarray(network(piece[None]))[0]
            if whole is None:
                whole = np.empty((height, width, result.shape[2]), result.dtype)
            whole[rows.first : rows.last, columns.first : columns.last] = result[
                rows.first - rows.start : rows.last - rows.start,
                columns.first - columns.start : columns.last - columns.start,
            ]
    assert whole is not None, "an image has a pixel"
    return whole
