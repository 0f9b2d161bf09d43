"""What a reader of a plot needs beside it: networks, seeds, hardware, and what the bars are."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from symskip_jax.reproduction.grid import Experiment
from symskip_jax.reproduction.sameness import read_identity
from symskip_jax.reproduction.summary import CONFIDENCE, Measured


def caption(experiment: Experiment, measured: Sequence[Measured], results: Path) -> list[str]:
    """Returns sentences on the plot of an experiment, all from the logs; none where it has none.

    Args:
        experiment: that was drawn.
        measured: its cells.
        results: the root below which the logs are.
    """
    found = [it for it in measured if it.values]
    if not found:
        return []
    machines = {name for it in found for name in it.hardware.split(", ") if name}
    parts = [
        ", ".join(_networks(experiment, found, results)),
        _seeds_text(found),
        f"on {' or '.join(sorted(machines))}" if machines else "",
    ]
    said = "; ".join(it for it in parts if it)
    scale = experiment.scale + (
        ", made-up images, no results" if experiment.scale == "smoke" else ""
    )
    return [f"Scale {scale}: {said}.", *_bars_texts(experiment, found)]


def _networks(experiment: Experiment, measured: Sequence[Measured], results: Path) -> list[str]:
    """Returns the networks that were trained, with their widths, as their logs have them."""
    folders = dict.fromkeys(
        run.folder(results, experiment.scale, seed)
        for it in measured
        for seed in it.values
        for run in it.cell.run.chain()
        if run.is_training
    )
    found = [it for folder in folders if (it := read_identity(folder))]
    return sorted({_network_text(it["model.name"], it["model.width_multiplier"]) for it in found})


def _network_text(name: str, width: float) -> str:
    if width == 1:
        return f"{name} at full width"
    return f"{name} at {Fraction(width).limit_denominator(100)} of its width"


def _seeds_text(measured: Sequence[Measured]) -> str:
    fewest, most = _seeds(measured)
    if fewest < most:
        return f"{fewest} to {most} seeds"
    return f"{most} seed{'s' * (most > 1)}"


def _seeds(measured: Sequence[Measured]) -> tuple[int, int]:
    counts = [len(it.values) for it in measured]
    return min(counts), max(counts)


def _bars_texts(experiment: Experiment, measured: Sequence[Measured]) -> list[str]:
    """Returns what the error bars are, or that there are none."""
    if experiment.drawing == "scatter":
        return ["Each point is one seed: no error bars."]
    if experiment.drawing == "layers":
        return [_lines_text(measured)]
    probes = [it for it in measured if it.cell.run.verb == "probe"]
    lines = [_lines_text(probes)] if probes and experiment.drawing == "bars and layers" else []
    fewest, most = _seeds(measured)
    if most == 1:
        return ["No error bars: of one seed there is no interval.", *lines]
    few = ", where there are two or more" if fewest == 1 else ""
    return [f"Error bars: {100 * CONFIDENCE:g} % interval of the mean over seeds{few}.", *lines]


def _lines_text(probes: Sequence[Measured]) -> str:
    _, most = _seeds(probes)
    return f"Lines: {f'mean of {_seeds_text(probes)}' if most > 1 else 'one seed'}, no error bars."
