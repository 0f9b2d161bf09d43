"""What the logs of an experiment say: mean, spread and interval of each cell."""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy import stats

from symskip_jax.reproduction.grid import Cell, Experiment, Run
from symskip_jax.reproduction.logs import figures
from symskip_jax.reproduction.machine import machine_text
from symskip_jax.reproduction.notes import machines_of, read_note, seconds_of
from symskip_jax.reproduction.sameness import is_done
from symskip_jax.training.records import read_metrics

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Measured:
    """A cell with what came out.

    values: by seed; empty where it was not run.
    seconds: of each seed, with all that its run starts from.
    seconds_to_paper: the same, until a test first gave the paper's figure; of the seeds that did.
    hardware: in words, all that those seconds were spent on; "" where it was not run.
    command: of the first seed.
    """

    cell: Cell
    values: dict[int, float]
    seconds: tuple[float, ...]
    seconds_to_paper: tuple[float, ...]
    hardware: str
    command: str

    @property
    def text(self) -> str:
        """Mean ± standard deviation, or that it was not run."""
        return mean_std(list(self.values.values()))


def measure(experiment: Experiment, results: Path) -> list[Measured]:
    """Reads every cell of an experiment from the logs below a folder."""
    return [_measure(cell, experiment, results) for cell in experiment.cells]


def _measure(cell: Cell, experiment: Experiment, results: Path) -> Measured:
    folders = {
        seed: cell.run.folder(results, experiment.scale, seed)
        for seed in _seeds(cell.run, experiment, results)
    }
    values = {
        seed: cell.factor * found[cell.metric]
        for seed, folder in folders.items()
        if cell.metric in (found := figures(folder))
    }
    notes = {seed: _chain_notes(cell.run, experiment, results, seed) for seed in values}
    machines = [it for chain in notes.values() for note in chain for it in machines_of(note)]
    reached = (_seconds_to_paper(cell, folders[seed], chain) for seed, chain in notes.items())
    return Measured(
        cell,
        values,
        tuple(sum(map(seconds_of, chain)) for chain in notes.values()),
        tuple(it for it in reached if it is not None),
        ", ".join(sorted({machine_text(it) for it in machines})),
        next((chain[-1].get("command", "") for chain in notes.values()), ""),
    )


def _seeds(run: Run, experiment: Experiment, results: Path) -> list[int]:
    folder = run.folder(results, experiment.scale, 0).parent
    names = [path.name.removeprefix("seed_") for path in folder.glob("seed_*")]
    seeds = sorted(int(it) for it in names if it.isdecimal())
    return [seed for seed in seeds if is_done(run, results, experiment.scale, seed)]


def _chain_notes(
    run: Run, experiment: Experiment, results: Path, seed: int
) -> list[dict[str, Any]]:
    """Returns the notes of what a run starts from, each once, and its own, which is the last."""
    folders = [it.folder(results, experiment.scale, seed) for it in run.chain()]
    return [read_note(it) for it in dict.fromkeys(folders)]


def _seconds_to_paper(cell: Cell, folder: Path, notes: Sequence[Mapping[str, Any]]) -> float | None:
    """Returns how long it took until a test first gave the paper's figure; None where none did.

    Time on the clock: of every command that the run starts from, whole, and of its own command
    from its start to the end of that test. In it are start-up, compilation, reading, training,
    tests and saving, and what was done twice as a command was cut off. Out of it are commands that
    failed, the time between commands, and what the log has behind that test; the log does not time
    saves and the end of the command, which therefore count though they come later.
    """
    if (paper := paper_figure(cell)) is None or not (folder / "metrics.jsonl").exists():
        return None
    records = read_metrics(folder)
    for i, record in enumerate(records):
        if record["split"] == "test" and cell.factor * record[cell.metric] >= paper:
            before, after = (
                sum(it["seconds"] for it in part) for part in (records[: i + 1], records[i + 1 :])
            )
            own = max(before, seconds_of(notes[-1]) - after)
            return sum(map(seconds_of, notes[:-1])) + own
    return None


def paper_figure(cell: Cell) -> float | None:
    """Returns the paper's figure without its deviation; None where it has none."""
    return float(cell.paper.split()[0]) if cell.paper else None


def mean_std(values: Sequence[float], digits: int = 2) -> str:
    """Returns mean ± sample standard deviation; one value as it is; of none "not run"."""
    if not values:
        return "not run"
    mean = f"{statistics.fmean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Returns the 95 % interval of the mean by Student's t; None of fewer than two values."""
    if len(values) < 2:
        return None
    error = statistics.stdev(values) / math.sqrt(len(values))
    width = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * error
    mean = statistics.fmean(values)
    return mean - width, mean + width


def interval_text(values: Sequence[float], digits: int = 2, sign: str = "") -> str:
    """Returns `low to high`; "" of fewer than two values."""
    found = interval(values)
    return "" if found is None else " to ".join(f"{it:{sign}.{digits}f}" for it in found)


def against(measured: Measured, baseline: Measured | None) -> list[float]:
    """Returns the differences to a baseline, seed by seed, where both have a figure."""
    if baseline is None or baseline is measured:
        return []
    shared = sorted({*measured.values} & {*baseline.values})
    return [measured.values[seed] - baseline.values[seed] for seed in shared]


def baseline_of(measured: Measured, others: Sequence[Measured]) -> Measured | None:
    """Returns the cell of the same column that a cell is compared with, if there is one."""
    column = measured.cell.column
    rows = {it.cell.row: it for it in others if it.cell.column == column}
    return rows.get(measured.cell.baseline)


def pairs(
    measured: Sequence[Measured],
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Returns, for each row with two columns, PSNR and accuracy of the seeds that have both."""
    x_of: dict[str, list[float]] = {}
    y_of: dict[str, list[float]] = {}
    for row in dict.fromkeys(it.cell.row for it in measured):
        found = {it.cell.metric: it.values for it in measured if it.cell.row == row}
        psnr, accuracy = found.get("psnr", {}), found.get("accuracy", {})
        seeds = sorted({*psnr} & {*accuracy})
        if seeds:
            x_of[row] = [psnr[seed] for seed in seeds]
            y_of[row] = [accuracy[seed] for seed in seeds]
    return x_of, y_of


def correlation_text(measured: Sequence[Measured]) -> str:
    """Returns how PSNR and accuracy go together: over all runs, and with one network and start.

    Pearson's coefficient with its 95 % interval: over runs, as if the seeds of a recipe were
    independent; and over the means of recipes, of the seeds that all have. "" of fewer than four
    runs.
    """
    alike = [it for it in measured if _trained_alike(it.cell, measured[0].cell)]
    texts = []
    for what, cells in (
        ("all", measured),
        (f"those of one network and start ({measured[0].cell.row} …)", alike),
    ):
        runs = [sum(it.values(), []) for it in pairs(cells)]
        in_all = pairs(_of_shared_seeds(cells))
        means = [[statistics.fmean(values) for values in it.values()] for it in in_all]
        if len(runs[0]) > 3:
            texts.append(f"over {len(runs[0])} runs, {what}: {_correlation(*runs)}")
        if len(means[0]) > 3:
            seeds = max(len(it) for it in in_all[0].values())
            of = f"of the {seeds} seeds" if seeds > 1 else "of the one seed"
            found = _correlation(*means)
            texts.append(f"over the means of these {len(means[0])} recipes, {of} all have: {found}")
    if not texts:
        return ""
    return (
        f"Correlation of PSNR and accuracy, with its 95 % interval, {'; '.join(texts)}. An "
        "interval over runs takes all for independent, which seeds of one recipe are not."
    )


def _of_shared_seeds(measured: Sequence[Measured]) -> list[Measured]:
    """Leaves out the seeds that some of those that have any lack."""
    run = [it for it in measured if it.values]
    shared = set.intersection(*({*it.values} for it in run)) if run else set()
    return [
        dataclasses.replace(it, values={seed: it.values[seed] for seed in sorted(shared)})
        for it in run
    ]


def _correlation(xs: Sequence[float], ys: Sequence[float]) -> str:
    """Returns Pearson's coefficient and its interval, by Fisher's transformation."""
    found = stats.pearsonr(xs, ys)
    low, high = found.confidence_interval(CONFIDENCE)
    return f"{found.statistic:+.2f} ({low:+.2f} to {high:+.2f})"


def _trained_alike(one: Cell, other: Cell) -> bool:
    """Whether two cells differ in rate or length of their pre-training alone."""

    def network(cell: Cell) -> list[list[str]]:
        chain = [run for run in cell.run.chain() if run.verb == "pretrain"]
        return [[it for it in run.chosen() if not it.startswith("pretrain.")] for run in chain]

    return network(one) == network(other)


def facts(measured: Measured) -> dict[str, Any]:
    """Returns a cell as a flat record, for CSV."""
    values = list(measured.values.values())
    return {
        "row": measured.cell.row,
        "column": measured.cell.column,
        "paper": measured.cell.paper,
        "mean": statistics.fmean(values) if values else "",
        "std": statistics.stdev(values) if len(values) > 1 else "",
        "seeds": len(values),
        "values": " ".join(f"{it:.4f}" for it in values),
        "seconds_per_seed": statistics.fmean(measured.seconds) if values else "",
        "seconds_to_paper": " ".join(f"{it:.0f}" for it in measured.seconds_to_paper),
        "hardware": measured.hardware,
        "command": measured.command,
    }
