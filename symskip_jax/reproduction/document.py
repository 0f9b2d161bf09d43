"""The page on reproduction: every cell at every scale, from the logs."""

from collections.abc import Sequence
from pathlib import Path

from symskip_jax.reproduction.captions import caption
from symskip_jax.reproduction.definitions import DEFINITIONS, define
from symskip_jax.reproduction.grid import Experiment, Scale
from symskip_jax.reproduction.pictures import beside_one_another
from symskip_jax.reproduction.summary import Measured, correlation_text, interval_text, measure
from symskip_jax.reproduction.tables import (
    TO_PAPER,
    difference_head,
    difference_text,
    table_row,
    time_text,
)

_SCALES: tuple[Scale, ...] = ("paper", "small")


def experiment_section(name: str, results: Path) -> str:
    """Returns the heading and the table of one experiment.

    Args:
        name: of the experiment.
        results: the root below which the logs are.
    """
    experiments = [define(name, scale) for scale in _SCALES]
    by_scale = {it.scale: measure(it, results) for it in experiments}
    # Differences are taken within a scale.
    compared = next((head for it in by_scale.values() if (head := difference_head(it))), "")
    reached = any(it.seconds_to_paper for found in by_scale.values() for it in found)
    heads = ["", "", "paper", "scale", "here", "95 % interval", *([compared] if compared else [])]
    heads += ["seeds", "on", "time a seed", *([TO_PAPER] if reached else []), "command"]
    lines = [
        f"## {name}: {experiments[0].title}",
        "",
        f"Section {experiments[0].section}.",
        "",
        table_row(heads),
        table_row(["---"] * len(heads)),
    ]
    for experiment in experiments:
        found = by_scale[experiment.scale]
        lines += [_line(experiment, it, found, bool(compared), reached) for it in found]
    for experiment in experiments:
        if experiment.drawing == "scatter" and (
            text := correlation_text(by_scale[experiment.scale])
        ):
            lines += ["", f"At the scale {experiment.scale}: {text}"]
        folder = results / name / experiment.scale
        if (folder / "plot.png").exists():
            picture = f"../results/{name}/{experiment.scale}/plot.png"
            said = " ".join(caption(experiment, by_scale[experiment.scale], results))
            lines += ["", f"![{name}, plotted. {said}]({picture})"]
        prefix = f"../results/{name}/{experiment.scale}/"
        if pictures := beside_one_another(experiment, results, prefix):
            lines += ["", pictures]
    return "\n".join(lines)


def all_sections(results: Path) -> str:
    """Returns the sections of all experiments."""
    return "\n\n".join(experiment_section(name, results) for name in DEFINITIONS)


def _line(
    experiment: Experiment,
    it: Measured,
    others: Sequence[Measured],
    compared: bool,
    reached: bool,
) -> str:
    command = f"symskip reproduce {experiment.name} --scale {experiment.scale}"
    values = list(it.values.values())
    cells = [it.cell.row, it.cell.column, it.cell.paper or "–", experiment.scale, it.text]
    cells += [interval_text(values)]
    cells += [difference_text(it, others)] if compared else []
    cells += [str(len(values)) if values else "", it.hardware, time_text(it.seconds)]
    cells += [time_text(it.seconds_to_paper)] if reached else []
    return table_row([*cells, f"`{command} --only {it.cell.run.name}`"])
