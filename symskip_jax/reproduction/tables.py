"""Tables of an experiment, as Markdown and as CSV."""

import csv
import io
import statistics
from collections.abc import Sequence

from symskip_jax.reproduction.grid import Experiment
from symskip_jax.reproduction.summary import (
    Measured,
    against,
    baseline_of,
    facts,
    interval_text,
)


def markdown(measured: Sequence[Measured]) -> str:
    """Returns a table with a line for each cell."""
    has_baseline = any(against(it, baseline_of(it, measured)) for it in measured)
    heads = ["", "", "paper", "here", "95 % interval"]
    heads += ["less He's, 95 % interval"] if has_baseline else []
    heads += ["seeds", "time a seed", "on"]
    lines = [table_row(heads), table_row(["---"] * len(heads))]
    for it in measured:
        values = list(it.values.values())
        differences = against(it, baseline_of(it, measured))
        cells = [it.cell.row, it.cell.column, it.cell.paper or "–", it.text]
        cells += [interval_text(values)]
        if has_baseline:
            mean = f"{statistics.fmean(differences):+.2f}" if differences else ""
            spread = interval_text(differences, sign="+")
            cells += [f"{mean} ({spread})" if spread else mean]
        cells += [str(len(values)) if values else "", time_text(it.seconds), it.hardware]
        lines.append(table_row(cells))
    return "\n".join(lines)


def page(experiment: Experiment, measured: Sequence[Measured]) -> str:
    """Returns the table with its title and how it was made."""
    command = f"symskip reproduce {experiment.name} --scale {experiment.scale}"
    return (
        f"# {experiment.title}\n\nSection {experiment.section}, at the scale `{experiment.scale}`: "
        f"`{command}`. Mean ± standard deviation over seeds; time with all that a run starts "
        f"from.\n\n{markdown(measured)}\n"
    )


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
