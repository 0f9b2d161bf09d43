"""The page on reproduction: every cell at every scale, from the logs."""

from pathlib import Path

from symskip_jax.reproduction.definitions import DEFINITIONS, define
from symskip_jax.reproduction.grid import Experiment, Scale
from symskip_jax.reproduction.summary import Measured, correlation_text, interval_text, measure
from symskip_jax.reproduction.tables import table_row, time_text

_SCALES: tuple[Scale, ...] = ("paper", "small")
_HEADS = (
    "",
    "",
    "paper",
    "scale",
    "here",
    "95 % interval",
    "seeds",
    "on",
    "time a seed",
    "command",
)


def experiment_section(name: str, results: Path) -> str:
    """Returns the heading and the table of one experiment.

    Args:
        name: of the experiment.
        results: the root below which the logs are.
    """
    experiments = [define(name, scale) for scale in _SCALES]
    lines = [
        f"## {name}: {experiments[0].title}",
        "",
        f"Section {experiments[0].section}.",
        "",
        table_row(_HEADS),
        table_row(["---"] * len(_HEADS)),
    ]
    by_scale = {it.scale: measure(it, results) for it in experiments}
    for experiment in experiments:
        lines += [_line(experiment, it) for it in by_scale[experiment.scale]]
    for experiment in experiments:
        if experiment.drawing == "scatter" and (
            text := correlation_text(by_scale[experiment.scale])
        ):
            lines += ["", f"At the scale {experiment.scale}: {text}"]
        folder = results / name / experiment.scale
        if (folder / "plot.png").exists():
            picture = f"../results/{name}/{experiment.scale}/plot.png"
            lines += ["", f"![{name} at the scale {experiment.scale}]({picture})"]
    return "\n".join(lines)


def all_sections(results: Path) -> str:
    """Returns the sections of all experiments."""
    return "\n\n".join(experiment_section(name, results) for name in DEFINITIONS)


def _line(experiment: Experiment, it: Measured) -> str:
    command = f"symskip reproduce {experiment.name} --scale {experiment.scale}"
    values = list(it.values.values())
    return table_row(
        [
            it.cell.row,
            it.cell.column,
            it.cell.paper or "–",
            experiment.scale,
            it.text,
            interval_text(values),
            str(len(values)) if values else "",
            it.hardware,
            time_text(it.seconds),
            f"`{command} --only {it.cell.run.name}`",
        ]
    )
