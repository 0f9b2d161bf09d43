"""The filters of a network's first layer, as the patches of an image that they answer to."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from symskip_jax.analysis.files import write_atomically

_COLUMNS = 16
# Sides in pixels.
_TILE, _GAP = 48, 4


def draw_filters(path: Path, kernel_hwio: np.ndarray) -> None:
    """Writes a PNG of all filters, the largest first, row by row, each pixel a sharp square.

    Args:
        path: of the PNG.
        kernel_hwio: [h, w, 1 or 3, N] of a convolution.
    """
    patches = filter_patches(kernel_hwio)
    height, width = patches.shape[1:3]
    factor = max(1, _TILE // max(height, width))
    patches = patches.repeat(factor, axis=1).repeat(factor, axis=2)
    count, height, width, _ = patches.shape
    columns = min(count, _COLUMNS)
    rows = -(-count // columns)
    step_y, step_x = height + _GAP, width + _GAP
    sheet = np.full((rows * step_y - _GAP, columns * step_x - _GAP, 3), 255, np.uint8)
    for index, patch in enumerate(patches):
        top, left = index // columns * step_y, index % columns * step_x
        sheet[top : top + height, left : left + width] = patch
    png = io.BytesIO()
    Image.fromarray(sheet).save(png, "PNG")
    write_atomically(path, png.getvalue())


def filter_patches(kernel_hwio: np.ndarray) -> np.ndarray:
    """Returns filters as pictures, uint8 [N, h, w, 1 or 3], that of the largest norm first.

    A weight of 0 is mid-grey, 128; the largest of a filter, by size, is 255, or 1 where it is
    negative.
    """
    filters = np.moveaxis(np.asarray(kernel_hwio, np.float64), -1, 0)
    norms = np.sqrt((filters**2).sum((1, 2, 3)))
    filters = filters[np.argsort(-norms, kind="stable")]
    most = np.abs(filters).max((1, 2, 3), keepdims=True)
    return np.rint(128 + 127 * filters / np.where(most > 0, most, 1)).astype(np.uint8)
