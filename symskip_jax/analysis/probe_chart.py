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
}
_MARKERS = "osD^vP"


def draw_probes(path: Path, probes: Mapping[str, Mapping[str, Any]]) -> None:
    """Writes `path`.png and `path`.svg: accuracy and PSNR by layer, a line a network.

    Args:
        path: without a suffix.
        probes: what `symskip probe` keeps, by label.
    """
    width = 0.4 + 4.8 * len(_panels(probes))
    figure = Figure(figsize=(width, 4.0), dpi=120, layout="constrained")
    plot_probes(figure, probes)
    save_figure(figure, path)


def plot_probes(figure: FigureBase, probes: Mapping[str, Mapping[str, Any]]) -> None:
    """Draws the same into a figure, or a part of one, laid out with constraints."""
    panels = _panels(probes)
    styles = line_styles(probes)
    drawn = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, kind in zip(drawn, panels, strict=True):
        key, factor, title = _PANELS[kind]
        for i, (label, found) in enumerate(probes.items()):
            measured = [
                (number, factor * layer[kind][key])
                for number, layer in enumerate(found["layers"].values(), start=1)
                if kind in layer
            ]
            style, dash = styles[label], "-"
            if style.dash != "none":
                dash = (0, tuple(float(length) for length in style.dash.split()))
            axes.plot(
                *zip(*measured, strict=True) if measured else ((), ()),
                label=label,
                color=style.colour,
                linestyle=dash,
                marker=_MARKERS[i % len(_MARKERS)],
                markersize=5,
            )
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
