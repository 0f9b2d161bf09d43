"""What the maps of a layer tell apart, and how little corruption changes them (section 5.5.2)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class MapStability(NamedTuple):
    """Likeness of maps, 1 for maps that are equal up to a factor and 0 for maps without overlap.

    A channel that shows nothing on any image has no likeness: NaN.

    corrupted_c: [C] of a channel's map of a clean image and of the same image corrupted, mean.
    between_c: [C] of its maps of two different clean images, mean over all pairs: what a map that
        knows nothing of the image would reach too.
    """

    corrupted_c: np.ndarray
    between_c: np.ndarray

    def overall(self) -> dict[str, float | None]:
        """Returns the means over channels, and how much of the way is kept.

        `kept` is 1 where corruption changes nothing and 0 where the maps of a corrupted image are
        no more like those of the clean one than another image's are.
        """
        if np.isnan(self.corrupted_c).all():
            return {"corrupted": None, "between": None, "kept": None}
        corrupted, between = np.nanmean(self.corrupted_c), float("nan")
        if not np.isnan(self.between_c).all():
            between = np.nanmean(self.between_c)
        kept = (corrupted - between) / (1 - between) if between < 1 else float("nan")
        named = {"corrupted": corrupted, "between": between, "kept": kept}
        return {name: None if np.isnan(x) else float(x) for name, x in named.items()}


def measure_stability(clean_nhwc: np.ndarray, corrupted_nhwc: np.ndarray) -> MapStability:
    """Compares activations by the cosine between maps, channel by channel.

    Of two maps one of which is 0 everywhere the likeness is 0; of two such maps there is none, and
    they are left out.

    Args:
        clean_nhwc: [N, h, w, C] of clean images.
        corrupted_nhwc: [N, h, w, C] of the same, corrupted.
    """
    clean, shows_nc = _unit(clean_nhwc)
    corrupted, corrupted_shows_nc = _unit(corrupted_nhwc)
    cosines_nc = (clean * corrupted).sum(1)
    pairs_c = (shows_nc | corrupted_shows_nc).sum(0)
    # The sum of all maps, squared, holds the product of every pair twice and of each with itself.
    shows_c, count = shows_nc.sum(0), len(clean)
    products_c = (clean.sum(0) ** 2).sum(0) - shows_c
    ordered_pairs_c = shows_c * (shows_c - 1) + 2 * shows_c * (count - shows_c)
    return MapStability(_divide(cosines_nc.sum(0), pairs_c), _divide(products_c, ordered_pairs_c))


def rank_by_activity(clean_nhwc: np.ndarray) -> np.ndarray:
    """Returns the channels [C] of activations [N, h, w, C], that of the highest mean first."""
    return np.argsort(-clean_nhwc.mean((0, 1, 2)), kind="stable")


def selectivity(one_nhwc: np.ndarray, other_nhwc: np.ndarray) -> np.ndarray:
    """Returns how much more each channel is active on images of one kind than of another, [C].

    An image's activity is the mean of the map. The difference of the two kinds' means is taken in
    standard deviations within a kind, both kinds pooled; 0 where a channel never varies.

    Args:
        one_nhwc: [N, h, w, C] of one kind, N >= 1.
        other_nhwc: [M, h, w, C] of the other.
    """
    one_nc, other_nc = (np.asarray(it, np.float64).mean((1, 2)) for it in (one_nhwc, other_nhwc))
    squares_c = sum(((it - it.mean(0)) ** 2).sum(0) for it in (one_nc, other_nc))
    deviation_c = np.sqrt(squares_c / max(1, len(one_nc) + len(other_nc) - 2))
    difference_c = one_nc.mean(0) - other_nc.mean(0)
    return np.divide(difference_c, deviation_c, np.zeros_like(difference_c), where=deviation_c > 0)


def top_channels(
    count: int, maps_nhwc: np.ndarray, other_nhwc: np.ndarray | None = None
) -> list[np.ndarray]:
    """Returns so many channels, or all if they are fewer, in lists, the first of each first.

    One list of the most active; or, beside maps of images of another kind, two: of those that are
    more active on the one kind, and of those that are on the other.
    """
    if other_nhwc is None:
        return [rank_by_activity(maps_nhwc)[:count]]
    order = np.argsort(-selectivity(maps_nhwc, other_nhwc), kind="stable")
    count = min(count, len(order))
    return [order[: count - count // 2], order[::-1][: count // 2]]


def share_kept(tops: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> float:
    """Returns the share of the channels of lists that are in the lists beside them too."""
    kept = [np.isin(top, other) for top, other in zip(tops, others, strict=True)]
    return float(np.concatenate(kept).mean())


def upsample(
    maps_nhwc: np.ndarray, stride: int, size: tuple[int, int], magnification: int = 1
) -> np.ndarray:
    """Returns maps over the image, [N, H, W, C], linear between the places they stand for.

    Position j of a map is centred on pixel stride * j, as convolutions padded evenly are.

    Args:
        maps_nhwc: [N, h, w, C].
        stride: pixels between two positions.
        size: (H, W) of the image, in pixels, as it is shown.
        magnification: how many pixels wide and high each pixel of the image is shown.
    """

    def weights(pixels: int, positions: int) -> np.ndarray:
        centres = (np.arange(pixels) - (magnification - 1) / 2) / magnification
        places = centres / stride
        columns = [np.interp(places, np.arange(positions), row) for row in np.eye(positions)]
        return np.stack(columns, axis=1)

    rows, columns = weights(size[0], maps_nhwc.shape[1]), weights(size[1], maps_nhwc.shape[2])
    return np.einsum("Hh,nhwc,Ww->nHWc", rows, maps_nhwc, columns, optimize=True)


def _unit(maps_nhwc: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns maps [N, h * w, C] of unit length, float64, and which are not 0, bool [N, C]."""
    flat = np.asarray(maps_nhwc, np.float64)
    flat = flat.reshape(len(flat), -1, flat.shape[-1])
    length_nc = np.sqrt((flat**2).sum(1))
    shows_nc = length_nc > 0
    return flat / np.where(shows_nc, length_nc, 1.0)[:, None], shows_nc


def _divide(sums_c: np.ndarray, counts_c: np.ndarray) -> np.ndarray:
    return np.where(counts_c > 0, sums_c / np.maximum(counts_c, 1), np.nan)
