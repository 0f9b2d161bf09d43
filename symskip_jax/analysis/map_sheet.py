"""Maps of a layer laid over the images they were made of (figures 5 and 6)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from symskip_jax.analysis.charts import line_styles
from symskip_jax.analysis.figures import GRID_COLOUR, save_figure
from symskip_jax.analysis.maps import upsample
from symskip_jax.analysis.sheets import Row, draw_sheet, magnified

# Its lightness rises evenly, so that it is read without colour too.
_COLOURS = "inferno"
# What of a tile is colour where a map is 0.
_LEAST_OPACITY = 0.4
_MARKERS = "o^s"


def draw_maps(
    path: Path,
    images: Mapping[str, np.ndarray],
    maps: Mapping[str, np.ndarray],
    stride: int,
    titles: Sequence[str],
) -> None:
    """Writes a PNG: of each image the clean one and its maps, those of its changed ones below.

    A channel has one scale, from 0 to the most that it shows on any of the images.

    Args:
        path: of the PNG.
        images: uint8 [N, H, W, 1 or 3] by what was done to them, `clean` and so on.
        maps: of the channels to draw, [N, h, w, K], likewise.
        stride: pixels between two positions of a map.
        titles: K, of the channels.
    """
    most_k = np.max([it.max((0, 1, 2)) for it in maps.values()], axis=0)
    tiles = {
        name: _tiles(pixels, maps[name] / np.where(most_k > 0, most_k, 1), stride)
        for name, pixels in images.items()
    }
    count = len(next(iter(tiles.values())))
    groups = [[Row(name, it[index]) for name, it in tiles.items()] for index in range(count)]
    draw_sheet(groups, path, ["image", *titles])


def draw_likeness(path: Path, likeness: Mapping[str, np.ndarray]) -> None:
    """Writes `path`.png and `path`.svg: each channel's likeness, those most active first.

    Args:
        path: without a suffix.
        likeness: [C] by what is compared, see `MapStability`; channels without one, NaN, are left
            out. The means over channels are drawn as lines.
    """
    figure = Figure(figsize=(6.4, 3.8), dpi=120, layout="constrained")
    axes = figure.subplots()
    styles = line_styles(likeness)
    for (label, values), marker in zip(likeness.items(), _MARKERS, strict=False):
        colour = styles[label].colour
        ranks = np.arange(1, len(values) + 1)
        axes.plot(ranks, values, marker, color=colour, label=label, markersize=4, alpha=0.8)
        if not np.isnan(values).all():
            axes.axhline(float(np.nanmean(values)), color=colour, linewidth=1)
    axes.set_title("cosine between two maps of a channel", fontsize=10, loc="left")
    axes.set_xlabel("channel, the most active first; lines are means over channels")
    axes.set_ylim(-0.02, 1.02)
    axes.grid(axis="y", color=GRID_COLOUR, linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    save_figure(figure, path)


def _tiles(images_nhwc: np.ndarray, shares_nhwk: np.ndarray, stride: int) -> np.ndarray:
    """Returns uint8 [N, 1 + K, H', W', 3]: each image as a sheet shows it, then its maps on it."""
    colours = matplotlib.colormaps[_COLOURS]
    shown = np.broadcast_to(magnified(images_nhwc), (*magnified(images_nhwc).shape[:3], 3))
    grey_nhw = shown.mean(-1, keepdims=True)
    size = shown.shape[1:3]
    factor = size[0] // images_nhwc.shape[1]
    tiles = [shown.astype(np.uint8)]
    for share in np.moveaxis(upsample(shares_nhwk, stride, size, factor), -1, 0):
        opacity = _LEAST_OPACITY + (1 - _LEAST_OPACITY) * share[..., None]
        blended = (1 - opacity) * grey_nhw + opacity * 255 * colours(share)[..., :3]
        tiles.append(np.rint(blended).astype(np.uint8))
    return np.stack(tiles, axis=1)
