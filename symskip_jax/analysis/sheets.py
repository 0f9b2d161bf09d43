"""Sheets of images in rows: what the network was shown and what it made of it, as one PNG."""

import io
import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from symskip_jax.analysis.files import write_atomically

# A power of two, so that a size in pixels survives the way through inches.
_DPI = 64
_MIN_TILE_PX = 128
_GAP_PX = 8
_GROUP_GAP_PX = 24
_LABEL_PX = 144
_LETTER_PX = 10.3
_CAPTION_PX = 26
_FONT_POINTS = 18 * 72 / _DPI


class Row(NamedTuple):
    """A row of a sheet: uint8 [N, H, W, 1 or 3], what stands left of it and under each image.

    Both may be of several lines.
    """

    label: str
    images_nhwc: np.ndarray
    captions: Sequence[str] | None = None


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
    rows = [
        Row("clean", clean),
        Row("corrupted", corrupted, decibels(psnr_corrupted)),
        Row("reconstructed", reconstructed, decibels(psnr_reconstructed)),
    ]
    draw_sheet([rows], path)


def draw_sheet(
    groups: Sequence[Sequence[Row]],
    path: str | os.PathLike[str],
    titles: Sequence[str] | None = None,
) -> None:
    """Write a PNG with rows in groups, a wider gap between these, a column an image.

    All rows have as many images, of one shape. Small images are magnified by a whole number, each
    pixel a sharp square; `titles` stand above the columns. The file appears whole or not at all;
    missing folders are made.

    Raises:
        ValueError: another dtype or shape, or not as many captions or titles as images.
    """
    rows = [row for group in groups for row in group]
    _check(rows)
    if titles is not None and len(titles) != len(rows[0].images_nhwc):
        raise ValueError(f"{len(titles)} titles for {len(rows[0].images_nhwc)} columns")
    write_atomically(path, _png(groups, titles))


def magnified(images_nhwc: np.ndarray) -> np.ndarray:
    """Returns images [N, H, W, ...] as large as a sheet shows them, each pixel a sharp square."""
    factor = -(-_MIN_TILE_PX // min(images_nhwc.shape[1:3]))
    return images_nhwc.repeat(factor, axis=1).repeat(factor, axis=2)


def decibels(psnrs: Sequence[float] | None) -> list[str] | None:
    """Write PSNRs as captions, `25.1 dB`."""
    return None if psnrs is None else [f"{psnr:.1f} dB" for psnr in psnrs]


def _check(rows: Sequence[Row]) -> None:
    shape = rows[0].images_nhwc.shape
    if len(shape) != 4 or shape[0] < 1 or shape[3] not in (1, 3):
        raise ValueError(f"images must be [N, H, W, 1 or 3] with N >= 1, not {list(shape)}")
    for name, images, captions in rows:
        if images.dtype != np.uint8 or images.shape != shape:
            got = f"{images.dtype} {list(images.shape)}"
            raise ValueError(f"{name} images must be uint8 {list(shape)}, not {got}")
        if captions is not None and len(captions) != shape[0]:
            raise ValueError(f"{len(captions)} captions for {shape[0]} {name} images")


def _captions_px(row: Row) -> int:
    return _CAPTION_PX * max((1 + it.count("\n") for it in row.captions or ()), default=0)


def _png(groups: Sequence[Sequence[Row]], titles: Sequence[str] | None) -> bytes:
    """Paint the tiles into one array, then let matplotlib write the words over it."""
    rows = [row for group in groups for row in group]
    count, tile_h, tile_w, _ = magnified(rows[0].images_nhwc).shape
    lines = [line for row in rows for line in row.label.split("\n")]
    label_px = _GAP_PX  # where no row has a label
    if any(lines):
        label_px = max(_LABEL_PX, 10 + round(_LETTER_PX * max(map(len, lines))))
    title_px = _CAPTION_PX * max(1 + title.count("\n") for title in titles) if titles else 0
    captions_px = sum(map(_captions_px, rows))
    between_px = (len(groups) - 1) * (_GROUP_GAP_PX - _GAP_PX)
    sheet_h = _GAP_PX + title_px + len(rows) * (tile_h + _GAP_PX) + captions_px + between_px
    sheet_w = label_px + count * (tile_w + _GAP_PX)

    pixels = np.full((sheet_h, sheet_w, 3), 255, np.uint8)
    figure = Figure(figsize=(sheet_w / _DPI, sheet_h / _DPI), dpi=_DPI)

    def write(text: str, x: float, y: float, align: str) -> None:
        place = x / sheet_w, 1 - y / sheet_h
        # Formulas are not meant: a class may be called anything.
        figure.text(*place, text, ha=align, va="center", fontsize=_FONT_POINTS, parse_math=False)

    def left_of(column: int) -> int:
        return label_px + column * (tile_w + _GAP_PX)

    for column, title in enumerate(titles or ()):
        write(title, left_of(column) + tile_w / 2, (_GAP_PX + title_px) / 2, "center")
    top = _GAP_PX + title_px
    for group in groups:
        for row in group:
            label, images, captions = row
            write(label, label_px - 10, top + tile_h / 2, "right")
            for column, tile in enumerate(magnified(images)):
                left = left_of(column)
                pixels[top : top + tile_h, left : left + tile_w] = tile
                below = [] if captions is None else captions[column].split("\n")
                for place, line in enumerate(below):
                    middle = top + tile_h + (place + 0.5) * _CAPTION_PX
                    write(line, left + tile_w / 2, middle, "center")
            top += tile_h + _GAP_PX + _captions_px(row)
        top += _GROUP_GAP_PX - _GAP_PX
    figure.figimage(pixels)

    png = io.BytesIO()
    FigureCanvasAgg(figure).print_png(png)
    if any(row.images_nhwc.shape[3] != 1 for row in rows):
        return png.getvalue()
    # One channel says all of a grey sheet, in less than half of the room.
    grey = io.BytesIO()
    with Image.open(png) as image:
        image.convert("L").save(grey, "PNG", optimize=True)
    return grey.getvalue()
