"""The curves of figure 3: what each layer of one or more networks is good for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import MaxNLocator

from symskip_jax.analysis.charts import line_styles
from symskip_jax.analysis.figures import GRID_COLOUR, save_figure

_PANELS = {
    "classification": ("accuracy", 100.0, "softmax regression: test accuracy (%)"),
    "reconstruction": ("psnr", 1.0, "stack of deconvolutions: test PSNR (dB)"),
    "few_shot": ("accuracy", 100.0, "few labels a class, mean ± sd of draws: test accuracy (%)"),
    "knn": ("accuracy", 100.0, "nearest neighbours by cosine: test accuracy (%)"),
}
_COLUMNS = 2
_MARKERS = "osD^vP"


def draw_probes(path: Path, probes: Mapping[str, Mapping[str, Any]]) -> None:
    """Writes `path`.png and `path`.svg: accuracy and PSNR by layer, a line a network.

    Args:
        path: without a suffix.
        probes: what `symskip probe` keeps, by label.
    """
    columns, rows = _arrange(len(_panels(probes)))
    size = (0.4 + 4.8 * columns, 0.6 + 3.4 * rows)
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    plot_probes(figure, probes)
    save_figure(figure, path)


def plot_probes(figure: FigureBase, probes: Mapping[str, Mapping[str, Any]]) -> None:
    """Draws the same into a figure, or a part of one, laid out with constraints."""
    panels = _panels(probes)
    styles = line_styles(probes)
    columns, rows = _arrange(len(panels))
    drawn = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in drawn[len(panels) :]:
        axes.remove()
    drawn = drawn[: len(panels)]
    for axes, kind in zip(drawn, panels, strict=True):
        key, factor, title = _PANELS[kind]
        for i, (label, found) in enumerate(probes.items()):
            measured = [
                (number, factor * layer[kind][key], factor * layer[kind].get("std", 0))
                for number, layer in enumerate(found["layers"].values(), start=1)
                if kind in layer
            ]
            style, dash = styles[label], "-"
            if style.dash != "none":
                dash = (0, tuple(float(length) for length in style.dash.split()))
            numbers, values, spreads = zip(*measured, strict=True) if measured else ((), (), ())
            axes.plot(
                numbers,
                values,
                label=label,
                color=style.colour,
                linestyle=dash,
                marker=_MARKERS[i % len(_MARKERS)],
                markersize=5,
            )
            if any(spreads):
                axes.errorbar(numbers, values, spreads, fmt="none", ecolor=style.colour, capsize=2)
        axes.set_title(title, fontsize=10, loc="left")
        axes.set_xlabel("encoder layer (ReLU), 1 is next to the image")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y", color=GRID_COLOUR, linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = drawn[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=min(len(labels), 3), frameon=False
    )


def _panels(probes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Returns which kinds of probe there are."""
    return [
        kind
        for kind in _PANELS
        if any(kind in layer for found in probes.values() for layer in found["layers"].values())
    ]


def _arrange(panels: int) -> tuple[int, int]:
    """Returns the columns and rows that so many panels stand in."""
    return min(panels, _COLUMNS), -(-panels // _COLUMNS)
