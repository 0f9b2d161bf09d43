"""What probes say layer by layer, a panel for each of many networks, whose lines would cross."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import FigureBase
from matplotlib.ticker import MaxNLocator

from symskip_jax.analysis.figures import GRID_COLOUR

_OWN, _FIRST, _OTHERS = "#0072B2", "#1d2327", "#c3cad0"
_BESIDE, _HEIGHT = 3, 2.0


def height_of_networks(probes: Mapping[str, Mapping[str, Any]]) -> float:
    """Returns the height in inches that the panels of so many networks take."""
    return 0.8 + _HEIGHT * -(-len(probes) // _BESIDE)


def plot_networks(figure: FigureBase, probes: Mapping[str, Mapping[str, Any]]) -> None:
    """Draws the accuracy of the probe of every layer, each network before all others in grey.

    Args:
        figure: or a part of one, laid out with constraints.
        probes: what `symskip probe` keeps, by label; the first is what the others are seen against.
    """
    lines = {label: _accuracies(found) for label, found in probes.items()}
    first = next(iter(lines))
    rows = -(-len(lines) // _BESIDE)
    panels = figure.subplots(rows, _BESIDE, squeeze=False, sharex=True, sharey=True).ravel()
    for axes in panels[len(lines) :]:
        axes.remove()
    for i, (axes, (label, own)) in enumerate(zip(panels, lines.items(), strict=False)):
        for line in lines.values():
            axes.plot(*line, color=_OTHERS, linewidth=1)
        axes.plot(*lines[first], color=_FIRST, linewidth=1.2, linestyle="--")
        axes.plot(*own, color=_OWN, marker="o", markersize=5, linewidth=2)
        axes.set_title(label, fontsize="small", loc="left")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y", color=GRID_COLOUR, linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        # Of a shared axis only the lowest row has numbers, which may not be full.
        axes.tick_params(labelbottom=True)
        if i >= (rows - 1) * _BESIDE:
            axes.set_xlabel("encoder layer (ReLU), 1 is next to the image", fontsize="small")
    figure.supylabel("softmax regression: test accuracy (%)", fontsize="medium")
    looks = (
        ("network of the title", {"color": _OWN, "marker": "o", "linewidth": 2}),
        (first, {"color": _FIRST, "linestyle": "--"}),
        ("all others", {"color": _OTHERS}),
    )
    handles = [panels[0].plot([], [], label=label, **look)[0] for label, look in looks]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)


def _accuracies(found: Mapping[str, Any]) -> tuple[list[int], list[float]]:
    """Returns numbers of layers, from 1, and percents."""
    layers = enumerate(found["layers"].values(), start=1)
    points = [(i, 100 * it["classification"]["accuracy"]) for i, it in layers]
    return [i for i, _ in points], [percent for _, percent in points]
