"""Pictures of an experiment, as PNG and SVG."""

import io
import json
import statistics
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure, SubFigure
from PIL import Image

from symskip_jax.analysis.charts import line_styles
from symskip_jax.analysis.files import write_atomically
from symskip_jax.analysis.probe_chart import plot_probes
from symskip_jax.reproduction.bars_chart import plot_bars, size_of_bars
from symskip_jax.reproduction.captions import caption
from symskip_jax.reproduction.grid import Experiment
from symskip_jax.reproduction.layers_chart import height_of_networks, plot_networks
from symskip_jax.reproduction.rates_chart import plot_rates
from symskip_jax.reproduction.steady_svg import steady
from symskip_jax.reproduction.summary import Measured, pairs

_INK = "#1d2327"
_COLOURS = 256
# Below that there is nothing to compare, and the table says it better.
_FEWEST_ROWS = 2
# Of a caption: letters to an inch, and inches to a line.
_LETTERS, _LINE = 14, 0.17


def draw(experiment: Experiment, measured: Sequence[Measured], folder: Path, results: Path) -> None:
    """Draws what the cells say to `plot.png` and `plot.svg` in a folder.

    Of fewer than two rows with figures nothing is drawn, and what is there, of logs that do not
    count any more, is removed.

    Args:
        experiment: whose `drawing` says how.
        measured: its cells.
        folder: of the pictures.
        results: the root below which the logs are.
    """
    if len(_rows(experiment, measured)) < _FEWEST_ROWS:
        for name in ("plot.png", "plot.svg"):
            (folder / name).unlink(missing_ok=True)
        return
    figure = _DRAWINGS[experiment.drawing](experiment, measured, results)
    # The text of an SVG stays text, and the file the same from one time to the next.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": experiment.name}):
        png, svg = io.BytesIO(), io.BytesIO()
        FigureCanvasAgg(figure).print_figure(png, dpi=100)
        FigureCanvasSVG(figure).print_figure(svg, metadata={"Date": None})
    write_atomically(folder / "plot.png", _small(png))
    write_atomically(folder / "plot.svg", steady(svg.getvalue().decode()).encode())


def _rows(experiment: Experiment, measured: Sequence[Measured]) -> set[str]:
    """Returns the rows that have something to draw."""
    if experiment.drawing == "scatter":
        return {*pairs(measured)[0]}
    return {it.cell.row for it in measured if it.values}


def _small(png: io.BytesIO) -> bytes:
    """Returns a PNG with a palette: lines have few colours, and it takes a third of the room."""
    small = io.BytesIO()
    with Image.open(png) as image:
        # By coverage, as others give the colour of a few points away.
        palette = image.convert("RGB").quantize(_COLOURS, Image.Quantize.MAXCOVERAGE)
    palette.save(small, "PNG", optimize=True)
    return small.getvalue()


def _sheet(
    experiment: Experiment,
    measured: Sequence[Measured],
    results: Path,
    size: tuple[float, float],
) -> tuple[Figure, SubFigure]:
    """Returns a figure with title and caption, and the room of a size in inches between them."""
    width, height = size
    said = caption(experiment, measured, results)
    lines = [line for it in said for line in textwrap.wrap(it, round(_LETTERS * width))]
    below = 0.15 + _LINE * len(lines)
    figure = Figure(figsize=(width, height + below), layout="constrained")
    body, foot = figure.subfigures(2, 1, squeeze=False, height_ratios=(height, below))[:, 0]
    figure.suptitle(experiment.title, fontsize="large", color=_INK)
    foot.text(0.5, 0.5, "\n".join(lines), ha="center", va="center", fontsize="small", color=_INK)
    return figure, body


def _bars(experiment: Experiment, measured: Sequence[Measured], results: Path) -> Figure:
    """The figures of the cells, a panel for each column."""
    figure, body = _sheet(experiment, measured, results, size_of_bars(measured))
    plot_bars(body, measured)
    return figure


def _scatter(experiment: Experiment, measured: Sequence[Measured], results: Path) -> Figure:
    """The PSNR of a pre-training against the accuracy after it, and their correlation."""
    x_of, y_of = pairs(measured)
    figure, body = _sheet(experiment, measured, results, (7, 5.8))
    ax = body.subplots()
    styles = line_styles(x_of)
    for (row, style), marker in zip(styles.items(), "os^Dv<>P*X" * 5, strict=False):
        ax.plot(x_of[row], y_of[row], marker, color=style.colour, label=row, alpha=0.85)
    ax.set_xlabel("PSNR of the reconstruction (dB)")
    ax.set_ylabel("test accuracy after fine-tuning (%)")
    ax.grid(color="#d5dade", linewidth=0.8)
    ax.spines[["top", "right"]].set_visible(False)
    body.legend(loc="outside lower center", frameon=False, ncols=2)
    return figure


def _layers(experiment: Experiment, measured: Sequence[Measured], results: Path) -> Figure:
    """What the probes say, layer by layer."""
    figure, body = _sheet(experiment, measured, results, (11, 4.4))
    plot_probes(body, _probes(experiment, measured, results))
    return figure


def _bars_and_layers(experiment: Experiment, measured: Sequence[Measured], results: Path) -> Figure:
    """The figures of the cells, and below them what the probes say of every layer."""
    probes = _probes(experiment, measured, results)
    if not probes:
        return _bars(experiment, measured, results)
    (width, height), below = size_of_bars(measured), height_of_networks(probes)
    figure, body = _sheet(experiment, measured, results, (width, height + below))
    bars, layers = body.subfigures(2, 1, squeeze=False, height_ratios=(height, below))[:, 0]
    plot_bars(bars, measured)
    plot_networks(layers, probes)
    return figure


def _rates(experiment: Experiment, measured: Sequence[Measured], results: Path) -> Figure:
    """The accuracy at every rate, a line for each start."""
    figure, body = _sheet(experiment, measured, results, (8, 7))
    plot_rates(body, measured)
    return figure


def _probes(
    experiment: Experiment, measured: Sequence[Measured], results: Path
) -> dict[str, dict[str, Any]]:
    """Returns what probes found, the mean over seeds, by row, as `symskip probe` keeps it."""
    layers: dict[str, dict[int, dict]] = {}
    for it in measured:
        if it.cell.run.verb == "probe":
            for seed in it.values:
                path = it.cell.run.folder(results, experiment.scale, seed) / "probe.json"
                found = json.loads(path.read_text())["layers"]
                layers.setdefault(it.cell.row, {})[seed] = found
    return {row: {"layers": _mean(list(of_seeds.values()))} for row, of_seeds in layers.items()}


def _mean(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns the mean of each number of records of one form; what is no number is left out."""
    means: dict[str, Any] = {}
    for key, first in records[0].items():
        values = [it[key] for it in records]
        if isinstance(first, dict):
            means[key] = _mean(values)
        elif isinstance(first, int | float):
            means[key] = statistics.fmean(values)
    return means


_DRAWINGS: dict[str, Callable[[Experiment, Sequence[Measured], Path], Figure]] = {
    "bars": _bars,
    "scatter": _scatter,
    "layers": _layers,
    "bars and layers": _bars_and_layers,
    "rates": _rates,
}
