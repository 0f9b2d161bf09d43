"""Tables of an experiment, as Markdown and as CSV."""

import csv
import io
import statistics
from collections.abc import Sequence
from pathlib import Path

from symskip_jax.reproduction.grid import Experiment
from symskip_jax.reproduction.pictures import beside_one_another
from symskip_jax.reproduction.summary import (
    Measured,
    against,
    baseline_of,
    correlation_text,
    facts,
    interval_text,
)

TO_PAPER = "time to the paper's"
# Said of the scale of smoke: beside the paper's figures they could be taken for some.
MADE_UP = "Of made-up images, to see that everything runs: no results."


def markdown(measured: Sequence[Measured]) -> str:
    """Returns a table with a line for each cell."""
    compared, reached = difference_head(measured), any(it.seconds_to_paper for it in measured)
    heads = ["", "", "paper", "here", "95 % interval", *([compared] if compared else [])]
    heads += ["seeds", "time a seed", *([TO_PAPER] if reached else []), "on"]
    lines = [table_row(heads), table_row(["---"] * len(heads))]
    for it in measured:
        values = list(it.values.values())
        cells = [it.cell.row, it.cell.column, it.cell.paper or "–", it.text]
        cells += [interval_text(values)]
        cells += [difference_text(it, measured)] if compared else []
        cells += [str(len(values)) if values else "", time_text(it.seconds)]
        cells += [time_text(it.seconds_to_paper)] if reached else []
        cells += [it.hardware]
        lines.append(table_row(cells))
    return "\n".join(lines)


def difference_head(measured: Sequence[Measured]) -> str:
    """Returns what stands over the differences to baselines; "" where there are none."""
    rows = _baselines(measured)
    than = next(iter(rows)) if len(rows) == 1 else "its baseline"
    return f"less {than}; 95 % interval" if rows else ""


def difference_text(it: Measured, others: Sequence[Measured]) -> str:
    """Returns the difference of a cell to its baseline among the cells of a table; "" of none."""
    differences = against(it, baseline_of(it, others))
    if not differences:
        return ""
    mean, spread = f"{statistics.fmean(differences):+.2f}", interval_text(differences, sign="+")
    named = f" to: {it.cell.baseline}" if len(_baselines(others)) > 1 else ""
    return (f"{mean} ({spread})" if spread else mean) + named


def _baselines(measured: Sequence[Measured]) -> set[str]:
    return {it.cell.baseline for it in measured if against(it, baseline_of(it, measured))}


def files(experiment: Experiment, measured: Sequence[Measured], results: Path) -> dict[str, str]:
    """Returns the tables of an experiment by the names of their files."""
    return {"table.md": page(experiment, measured, results), "table.csv": as_csv(measured)}


def page(experiment: Experiment, measured: Sequence[Measured], results: Path) -> str:
    """Returns the table with its title, how it was made, and what was drawn."""
    command = f"symskip reproduce {experiment.name} --scale {experiment.scale}"
    parts = [
        f"# {experiment.title}",
        f"Section {experiment.section}, at the scale `{experiment.scale}`: `{command}`. Mean ± "
        "standard deviation over seeds; time with all that a run starts from."
        + (f" **{MADE_UP}**" if experiment.scale == "smoke" else ""),
        markdown(measured),
    ]
    if experiment.drawing == "scatter" and (text := correlation_text(measured)):
        parts.append(text)
    if pictures := beside_one_another(experiment, results):
        parts.append(pictures)
    return "\n\n".join(parts) + "\n"


def as_csv(measured: Sequence[Measured]) -> str:
    """Returns a line for each cell, with each seed's value and the command."""
    out = io.StringIO()
    records = [facts(it) for it in measured]
    writer = csv.DictWriter(out, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue()


def table_row(cells: Sequence[str]) -> str:
    """Returns a line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def time_text(seconds: Sequence[float]) -> str:
    """Returns the mean of times in words; "" of none."""
    if not seconds:
        return ""
    mean = statistics.fmean(seconds)
    if mean < 120:
        return f"{mean:.0f} s"
    return f"{mean / 60:.0f} min" if mean < 7200 else f"{mean / 3600:.1f} h"
