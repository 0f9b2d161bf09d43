"""`symskip reproduce`: an experiment of the paper, from its commands to its table."""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from symskip_jax.analysis.files import write_atomically
from symskip_jax.errors import UserError
from symskip_jax.reproduction.datasets import chosen_names, missing_data
from symskip_jax.reproduction.definitions import define
from symskip_jax.reproduction.drawing import draw
from symskip_jax.reproduction.grid import Experiment, Scale
from symskip_jax.reproduction.plan import plan
from symskip_jax.reproduction.running import (
    Execute,
    Place,
    in_a_process,
    machine_of_a_process,
    run_jobs,
    to_do,
)
from symskip_jax.reproduction.smoke_data import make_smoke_data
from symskip_jax.reproduction.summary import measure
from symskip_jax.reproduction.tables import MADE_UP, files, markdown
from symskip_jax.training.workdir import make_workdir

FAILED = 1


@dataclass(frozen=True)
class Hands:
    """What runs the commands, and what says on which machine."""

    execute: Execute = in_a_process
    machine: Callable[[], Mapping[str, Any]] = machine_of_a_process


def reproduce(
    name: str,
    *,
    scale: Scale,
    seeds: str | None,
    only: str | None,
    dry_run: bool,
    data: Sequence[str],
    runs: Path,
    results: Path,
    hands: Hands = Hands(),
) -> int:
    """Runs what of an experiment is not done yet, and writes its table and its pictures.

    Args:
        name: of the experiment: table2.
        scale: `paper`; `small`, for two CPU cores; `smoke`, to see that everything runs.
        seeds: how many, from 0 on (`5`), or from which to which (`3-4`); None for as many as the
            experiment has by default.
        only: a row of the table or the name of a run, which need not have a row; None for all.
        dry_run: print the commands, their operations and the time expected, and run nothing (at
            the scale of smoke the made-up images are written, as the commands name them).
        data: `ROLE=NAME` of datasets that are not where they are looked for.
        runs: root of the working folders, with the checkpoints.
        results: root of the results: `NAME/SCALE/` gets logs, `table.md`, `table.csv`, plots.
        hands: what runs the commands.

    Returns:
        0, or 1 where a command failed; the table is written either way.

    Raises:
        UserError: there is no such experiment, cell or role, `seeds` names none, or a folder cannot
            be written.
        StoppedError: stopped; the same command goes on from there.
    """
    experiment = define(name, scale)
    chosen = experiment.only(only)
    numbers = range(experiment.seeds) if seeds is None else _numbers(seeds)
    names = chosen_names(data)
    if not dry_run:
        make_workdir(results / name / scale, "--results")
    if scale == "smoke" or not dry_run:
        make_workdir(runs, "--runs")
    if scale == "smoke":
        given = {choice.partition("=")[0] for choice in data}
        made = make_smoke_data(runs / "smoke_data")
        names |= {role: made[role] for role in made if role not in given}
    place = Place(runs, results, names)
    jobs = to_do(chosen, numbers, place)
    machine = hands.machine() if jobs else {}
    missing = missing_data((job.run.role for job in jobs), names)
    if dry_run:
        print(plan(chosen, jobs, numbers, place, machine, missing))
        return 0
    for line in missing:
        print(line, file=sys.stderr, flush=True)
    if not jobs:
        told = f"nothing to run: {results} has the logs of all; another --results runs it anew"
        print(told, file=sys.stderr)
    failed = run_jobs(chosen, jobs, place, hands.execute, machine)
    write_tables(experiment, results)
    if scale == "smoke":
        print(f"{MADE_UP}\n")
    print(markdown(measure(experiment, results)))
    print(f"\nwritten to {results / name / scale}", file=sys.stderr)
    if failed:
        print(f"{len(failed)} of {len(jobs)} runs failed; see above", file=sys.stderr)
    return FAILED if failed else 0


def _numbers(seeds: str) -> range:
    """Returns the seeds that `5` or `3-4` names."""
    matched = re.fullmatch(r"(?:(\d+)-)?(\d+)", seeds)
    first, last = (int(it or 0) for it in matched.groups()) if matched else (0, 0)
    numbers = range(first, last + 1 if matched and matched[1] else last)
    if not numbers:
        raise UserError(f"--seeds {seeds} names none: how many from 0 on (5), or which (3-4)?")
    return numbers


def write_tables(experiment: Experiment, results: Path) -> None:
    """Writes the table of an experiment, and its pictures, from the logs below a folder."""
    folder = results / experiment.name / experiment.scale
    measured = measure(experiment, results)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files(experiment, measured, results).items():
        write_atomically(folder / name, text.encode())
    draw(experiment, measured, folder, results)
