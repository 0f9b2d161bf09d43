"""Accuracy by learning rate, a line for each start, so that its best rate is seen."""

import statistics
from collections.abc import Sequence

from matplotlib.figure import FigureBase

from symskip_jax.analysis.charts import line_styles
from symskip_jax.analysis.figures import GRID_COLOUR
from symskip_jax.reproduction.summary import Measured, interval

_FIELD = "finetune.learning_rate"
_MARKERS = "os^Dv<P"


def plot_rates(figure: FigureBase, measured: Sequence[Measured]) -> None:
    """Draws cells of runs that differ in rate, on one pair of axes; what was not run has no point.

    The best rate of each start is the filled marker of its line; the legend says it, best first.

    Args:
        figure: or a part of one, laid out with constraints.
        measured: cells whose runs set their rate; a row is a line.
    """
    axes = figure.subplots()
    styles = line_styles(it.cell.row for it in measured)
    tops = {}
    for (row, style), marker in zip(styles.items(), _MARKERS * len(styles), strict=False):
        found = [it for it in measured if it.cell.row == row and it.values]
        if not found:
            continue
        means = {rate_of(it): statistics.fmean(it.values.values()) for it in found}
        rates = sorted(means, key=float)
        best = max(rates, key=means.__getitem__)
        colour = style.colour
        # Dashes of SVG; a solid line has none.
        dash = "-" if style.dash == "none" else (0, tuple(map(float, style.dash.split())))
        look = {"color": colour, "marker": marker, "linestyle": dash}
        axes.plot([*map(float, rates)], [means[it] for it in rates], mfc="white", **look)
        for it in found:
            if (spread := interval([*it.values.values()])) is not None:
                axes.plot([float(rate_of(it))] * 2, spread, color=colour, linewidth=1)
        axes.plot([float(best)], [means[best]], markersize=10, zorder=4, **look)
        label = f"{row}: {means[best]:.2f} % at {best}"
        tops[row] = (means[best], axes.plot([], [], label=label, **look)[0])
    tried = sorted({rate_of(it) for it in measured if it.values}, key=float)
    axes.set_xscale("log")
    axes.set_xticks([*map(float, tried)], tried)
    axes.minorticks_off()
    axes.set_xlabel("learning rate of fine-tuning")
    axes.set_ylabel(measured[0].cell.column.partition(", ")[2])
    axes.grid(color=GRID_COLOUR, linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    handles = [handle for _, handle in sorted(tops.values(), key=lambda it: -it[0])]
    title = "filled: the best rate of each start; the best start first"
    figure.legend(handles=handles, loc="outside lower center", frameon=False, title=title)


def rate_of(measured: Measured) -> str:
    """Returns the rate that the run of a cell sets, as it was typed."""
    fields = dict(it.split("=", 1) for it in measured.cell.run.chosen())
    return fields[_FIELD]
