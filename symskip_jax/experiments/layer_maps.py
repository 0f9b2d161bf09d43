"""The maps of one layer of a run: drawn over the images, and how alike they stay."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from symskip_jax.analysis.frozen import FrozenNetwork
from symskip_jax.analysis.map_sheet import draw_likeness, draw_maps
from symskip_jax.analysis.maps import (
    measure_stability,
    rank_by_activity,
    selectivity,
    share_kept,
    top_channels,
)
from symskip_jax.experiments.inputs import Input
from symskip_jax.experiments.networks import Run
from symskip_jax.experiments.shown import (
    CLEAN,
    CORRUPTED,
    OCCLUDED,
    as_bytes,
    corruptions,
    describe_corruption,
    shown,
)
from symskip_jax.models.deconvolutions import sizes_between
from symskip_jax.training.compilation import compiler_options
from symskip_jax.training.workdir import write_json

# On how many images likeness is measured, however few are drawn.
MEASURED_IMAGES = 64


class Looks(NamedTuple):
    """A network and the images that it is looked at with.

    run: the checkpoint.
    network: its network.
    data: one split or two.
    versions: pixels [N, H, W, C] by name, of all splits behind one another; see `shown`.
    counts: how many of them are of each split.
    """

    run: Run
    network: FrozenNetwork
    data: Sequence[Input]
    versions: Mapping[str, np.ndarray]
    counts: Sequence[int]

    @property
    def shapes(self) -> dict[str, tuple[int, int, int]]:
        """The (h, w, width) of every layer, by name."""
        return self.network.layers(self.data[0].channels)

    def by_split(self, values: np.ndarray) -> list[np.ndarray]:
        """Returns values of all images, split by split."""
        return np.split(values, np.cumsum(self.counts)[:-1])

    def first(self, count: int) -> np.ndarray:
        """Returns the places of the first images of each split."""
        return np.concatenate([it[:count] for it in self.by_split(np.arange(sum(self.counts)))])


def look(run: Run, data: Sequence[Input], count: int, *, occluded: bool) -> Looks:
    """Takes the first images of one split or two, clean, corrupted and perhaps occluded."""
    network = run.network(data[0])
    done = corruptions(run, network, occluded=occluded)
    pairs = [shown(done, network.crop, it.first(count)) for it in data]
    versions = {name: np.concatenate([it[name] for it in pairs]) for name in pairs[0]}
    return Looks(run, network, data, versions, [len(it[CLEAN]) for it in pairs])


def draw_layer(
    looks: Looks, layer: str, *, images: int, channels: int, out: Path
) -> dict[str, Any]:
    """Draws maps of a layer and measures their likeness; see `visualize_maps`.

    Args:
        looks: at which network and images.
        layer: one of `looks.shapes`.
        images: how many of a split are drawn.
        channels: how many are drawn.
        out: folder to write to, which is there.

    Returns:
        What the JSON file holds.
    """
    shape, maps = looks.shapes[layer], _maps(looks, layer)
    clean, changed = maps[CLEAN], {name: it for name, it in maps.items() if name != CLEAN}
    tops = top_channels(channels, *looks.by_split(clean))
    likeness = {name: measure_stability(clean, it) for name, it in changed.items()}
    overall: dict[str, Any] = {}
    for name, it in changed.items():
        top_kept = share_kept(tops, top_channels(channels, *looks.by_split(it)))
        found = {**likeness[name].overall(), "top_kept": top_kept}
        if name == OCCLUDED:
            found = {
                OCCLUDED: found["corrupted"],
                "occluded_kept": found["kept"],
                "occluded_top_kept": top_kept,
            }
        overall |= found
    selective_c = None
    if len(looks.data) > 1:
        selective_c = selectivity(*looks.by_split(clean))
        overall["selectivity"] = float(selective_c[tops[0]].mean())
        overall["selectivity_against"] = -float(selective_c[tops[1]].mean())
    order = rank_by_activity(clean)
    between_c = likeness[CORRUPTED].between_c
    by_channel = {name: it.corrupted_c for name, it in likeness.items()} | {"between": between_c}
    activity_c = clean.mean((0, 1, 2))
    corruption = corruptions(looks.run, looks.network, occluded=False)[CORRUPTED]
    found = {
        **looks.run.facts(),
        "layer": layer,
        "shape": list(shape),
        "data": [it.name for it in looks.data],
        "images": len(clean),
        "corruption": describe_corruption(corruption).replace("\n", ", "),
        "overall": overall,
        "top": [top.tolist() for top in tops],
        "channels": [
            {
                "channel": c,
                "activity": float(activity_c[c]),
                **{name: _number(float(values_c[c])) for name, values_c in by_channel.items()},
                **({} if selective_c is None else {"selectivity": float(selective_c[c])}),
            }
            for c in order.tolist()
        ],
    }
    write_json(out / f"maps_{layer}.json", found)
    drawn, rows = np.concatenate(tops), looks.first(images)
    corrupted_c = likeness[CORRUPTED].corrupted_c
    draw_maps(
        out / f"maps_{layer}.png",
        {name: as_bytes(pixels[rows]) for name, pixels in looks.versions.items()},
        {name: it[rows][..., drawn] for name, it in maps.items()},
        2 ** len(sizes_between(shape[:2], looks.network.crop)),
        [_title(c, float(corrupted_c[c]), selective_c) for c in drawn.tolist()],
    )
    draw_likeness(
        out / f"likeness_{layer}",
        {
            **{f"clean and {name} image": it.corrupted_c[order] for name, it in likeness.items()},
            "two different images": between_c[order],
        },
    )
    print(_summary(layer, shape, overall))
    return found


def _summary(layer: str, shape: Sequence[int], overall: Mapping[str, float | None]) -> str:
    """Returns the overall figures in a line."""
    parts = [f"{_text(overall['corrupted'])} if corrupted ({_text(overall['kept'], '.0%')} kept)"]
    if OCCLUDED in overall:
        kept = _text(overall["occluded_kept"], ".0%")
        parts.append(f"{_text(overall[OCCLUDED])} if occluded ({kept} kept)")
    parts.append(f"{_text(overall['between'])} of another image")
    size = "x".join(map(str, shape))
    line = f"maps of {layer} ({size}): cosine with the clean image's {', '.join(parts)}"
    if "selectivity" in overall:
        apart = f"{_text(overall['selectivity'])} and {_text(overall['selectivity_against'])}"
        line += f"; channels drawn differ by {apart} standard deviations"
    return line


def _text(value: float | None, form: str = ".2f") -> str:
    return "–" if value is None else format(value, form)


def _maps(looks: Looks, layer: str) -> dict[str, np.ndarray]:
    network = looks.network

    @functools.partial(jax.jit, compiler_options=compiler_options())
    def maps_of(variables: Any, pixels: Array) -> Array:
        return network.activation(variables, layer, pixels)

    return {
        name: np.concatenate([maps_of(network.variables, image[None]) for image in pixels])
        for name, pixels in looks.versions.items()
    }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _title(channel: int, likeness: float, selective_c: np.ndarray | None) -> str:
    lines = [f"channel {channel}", "dark" if np.isnan(likeness) else f"{likeness:.2f} alike"]
    if selective_c is not None:
        lines.append(f"{selective_c[channel]:+.1f} sd")
    return "\n".join(lines)
