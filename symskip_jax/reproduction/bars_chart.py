"""The figures of a table as points with their intervals, a panel for each column."""

import statistics
from collections.abc import Sequence

from matplotlib.figure import FigureBase
from matplotlib.ticker import MaxNLocator

from symskip_jax.analysis.figures import GRID_COLOUR
from symskip_jax.reproduction.summary import Measured, interval, paper_figure

_MEAN, _PAPER, _SEED = "#0072B2", "#D55E00", "#a8b2ba"
# More beside one another would be too narrow to read.
_BESIDE = 3
# In inches: the labels of rows, a panel, one of three, and a row.
_LABELS, _PANEL, _OF_THREE, _ROW = 4.2, 2.8, 2.2, 0.3


def size_of_bars(measured: Sequence[Measured]) -> tuple[float, float]:
    """Returns width and height in inches."""
    decks = _decks(measured)
    panels = max(len(_names(it, "column")) for it in decks)
    panel = _PANEL if panels < _BESIDE else _OF_THREE
    return _LABELS + panels * panel, 0.6 + sum(map(_height, decks))


def plot_bars(figure: FigureBase, measured: Sequence[Measured]) -> None:
    """Draws seeds as points, their mean with its 95 % interval, the paper's figure as a ring.

    Rows are those of the table, in its order. Columns that find no room beside the others follow
    below, with the rows that they have; those of which nothing was run are left out.

    Args:
        figure: or a part of one, laid out with constraints.
        measured: the cells.
    """
    decks = _decks(measured)
    heights = [*map(_height, decks)]
    parts = figure.subfigures(len(decks), 1, squeeze=False, height_ratios=heights)[:, 0]
    for part, deck in zip(parts, decks, strict=True):
        _plot_deck(part, deck)
    axes = parts[-1].axes[0]
    handles = [
        axes.plot([], [], "o-", color=_MEAN, label="mean, 95 % interval")[0],
        axes.plot([], [], ".", color=_SEED, label="each seed")[0],
    ]
    if any(paper_figure(it.cell) is not None for deck in decks for it in deck):
        ring = axes.plot([], [], "o", mfc="none", color=_PAPER, label="paper, full size")[0]
        handles.append(ring)
    parts[-1].legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)


def _decks(measured: Sequence[Measured]) -> list[list[Measured]]:
    """Returns the cells of the columns that stand beside one another, deck by deck."""
    run = {it.cell.column for it in measured if it.values}
    columns = [it for it in _names(measured, "column") if it in run]
    beside = [columns[i : i + _BESIDE] for i in range(0, len(columns), _BESIDE)]
    return [[it for it in measured if it.cell.column in some] for some in beside]


def _names(measured: Sequence[Measured], kind: str) -> list[str]:
    return list(dict.fromkeys(getattr(it.cell, kind) for it in measured))


def _height(deck: Sequence[Measured]) -> float:
    return 1.0 + _ROW * len(_names(deck, "row"))


def _plot_deck(figure: FigureBase, deck: Sequence[Measured]) -> None:
    columns, rows = _names(deck, "column"), _names(deck, "row")
    axes = figure.subplots(1, len(columns), squeeze=False, sharey=True)[0]
    for ax, column in zip(axes, columns, strict=True):
        drawn = []
        for it in deck:
            if it.cell.column != column:
                continue
            place, values = rows.index(it.cell.row), list(it.values.values())
            drawn += values
            ax.plot(values, [place] * len(values), ".", color=_SEED, markersize=5, zorder=4)
            if values:
                mean, spread = statistics.fmean(values), interval(values)
                ax.plot([mean], [place], "o", color=_MEAN, markersize=6)
                if spread is not None:
                    ax.plot(spread, [place, place], "-", color=_MEAN, linewidth=2)
                    # That of two seeds may be ten times as wide as all that was measured.
                    drawn += spread if len(values) > 2 else ()
            paper = paper_figure(it.cell)
            if paper is not None:
                drawn.append(paper)
                ax.plot([paper], [place], "o", mfc="none", color=_PAPER, markersize=7)
        room = 0.1 * (max(drawn) - min(drawn)) or 1.0
        ax.set_xlim(min(drawn) - room, max(drawn) + room)
        ax.tick_params(axis="y", length=0)
        ax.set_xlabel(column if len(columns) < _BESIDE else column.replace(", ", ",\n"))
        ticks = 7 if len(columns) < _BESIDE else 5
        ax.xaxis.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 5, 10]))
        ax.grid(axis="x", color=GRID_COLOUR, linewidth=0.8)
        # Leads from a label to its point, however far that is.
        ax.grid(axis="y", color=GRID_COLOUR, linewidth=0.5, linestyle=":")
        ax.set_axisbelow(True)
        ax.spines[["top", "right", "left"]].set_visible(False)
    axes[0].set_yticks(range(len(rows)), rows)
    axes[0].set_ylim(len(rows) - 0.5, -0.5)
