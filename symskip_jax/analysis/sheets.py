"""Reconstruction sheets: what the network was shown and what it made of it, as one PNG."""

import io
import os
from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from symskip_jax.analysis.files import write_atomically

# A power of two, so that a size in pixels survives the way through inches.
_DPI = 64
_MIN_TILE_PX = 128
_GAP_PX = 8
_LABEL_PX = 144
_CAPTION_PX = 26
_FONT_POINTS = 18 * 72 / _DPI

_Row = tuple[str, np.ndarray, Sequence[float] | None]


def reconstruction_sheet(
    clean: np.ndarray,
    corrupted: np.ndarray,
    reconstructed: np.ndarray,
    path: str | os.PathLike[str],
    psnr_corrupted: Sequence[float] | None = None,
    psnr_reconstructed: Sequence[float] | None = None,
) -> None:
    """Write a PNG with a row each of clean, corrupted and reconstructed images, a column an image.

    The three are uint8 `[N, H, W, C]`, N >= 1, C 1 (grey) or 3 (RGB). Small images are magnified by
    a whole number, each pixel a sharp square. The PSNRs, `[N]` in dB, go under the images of their
    row. The file appears whole or not at all; missing folders are made.

    Raises:
        ValueError: another dtype or shape, or not as many PSNRs as images.
    """
    rows: list[_Row] = [
        ("clean", clean, None),
        ("corrupted", corrupted, psnr_corrupted),
        ("reconstructed", reconstructed, psnr_reconstructed),
    ]
    _check(rows)
    write_atomically(path, _png(rows))


def _check(rows: Sequence[_Row]) -> None:
    shape = rows[0][1].shape
    if len(shape) != 4 or shape[0] < 1 or shape[3] not in (1, 3):
        raise ValueError(f"images must be [N, H, W, 1 or 3] with N >= 1, not {list(shape)}")
    for name, images, psnrs in rows:
        if images.dtype != np.uint8 or images.shape != shape:
            got = f"{images.dtype} {list(images.shape)}"
            raise ValueError(f"{name} images must be uint8 {list(shape)}, not {got}")
        if psnrs is not None and len(psnrs) != shape[0]:
            raise ValueError(f"{len(psnrs)} PSNRs for {shape[0]} {name} images")


def _png(rows: Sequence[_Row]) -> bytes:
    """Paint the tiles into one array, then let matplotlib write the words over it."""
    count, height, width, _ = rows[0][1].shape
    magnify = -(-_MIN_TILE_PX // min(height, width))
    tile_h, tile_w = magnify * height, magnify * width
    captions_px = sum(_CAPTION_PX for _, _, psnrs in rows if psnrs is not None)
    sheet_h = _GAP_PX + len(rows) * (tile_h + _GAP_PX) + captions_px
    sheet_w = _LABEL_PX + count * (tile_w + _GAP_PX)

    pixels = np.full((sheet_h, sheet_w, 3), 255, np.uint8)
    figure = Figure(figsize=(sheet_w / _DPI, sheet_h / _DPI), dpi=_DPI)

    def write(text: str, x: float, y: float, align: str) -> None:
        figure.text(
            x / sheet_w, 1 - y / sheet_h, text, ha=align, va="center", fontsize=_FONT_POINTS
        )

    top = _GAP_PX
    for name, images, psnrs in rows:
        write(name, _LABEL_PX - 10, top + tile_h / 2, "right")
        for column, image in enumerate(images):
            left = _LABEL_PX + column * (tile_w + _GAP_PX)
            tile = image.repeat(magnify, axis=0).repeat(magnify, axis=1)
            pixels[top : top + tile_h, left : left + tile_w] = tile
            if psnrs is not None:
                middle = top + tile_h + _CAPTION_PX / 2
                write(f"{psnrs[column]:.1f} dB", left + tile_w / 2, middle, "center")
        top += tile_h + _GAP_PX + (_CAPTION_PX if psnrs is not None else 0)
    figure.figimage(pixels)

    png = io.BytesIO()
    FigureCanvasAgg(figure).print_png(png)
    return png.getvalue()
