"""What a dry run of `symskip reproduce` prints: every command, and what it costs, row by row."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from symskip_jax.reproduction.cost import run_dtype, run_flops
from symskip_jax.reproduction.grid import Experiment, Run
from symskip_jax.reproduction.logs import typed
from symskip_jax.reproduction.machine import machine_text, step_rate, step_share
from symskip_jax.reproduction.running import Job, Place
from symskip_jax.reproduction.sameness import is_done


@dataclasses.dataclass
class _Cost:
    """Of some jobs: how many, their operations, the time expected, and how many are not counted."""

    jobs: int = 0
    flops: float = 0.0
    seconds: float = 0.0
    not_counted: int = 0

    def add(self, flops: float | None, rate: float) -> None:
        self.jobs += 1
        self.not_counted += flops is None
        self.flops += flops or 0.0
        self.seconds += (flops or 0.0) / rate

    def __str__(self) -> str:
        less = f", without the {self.not_counted} not counted" if self.not_counted else ""
        return f"{self.flops:.2g} FLOPs, {_time(self.seconds)}{less}"


def plan(
    experiment: Experiment,
    jobs: Sequence[Job],
    seeds: Sequence[int],
    place: Place,
    machine: Mapping[str, Any],
    missing: Sequence[str],
) -> str:
    """Returns every command with its cost, and the sums of each row and of all.

    Args:
        experiment: with the rows that are asked for.
        jobs: that are left to do.
        seeds: that are asked for.
        place: where they run.
        machine: what they run on.
        missing: lines about data that is not here.
    """
    done = sum(
        is_done(run, place.results, experiment.scale, seed)
        for run in experiment.runs()
        for seed in seeds
    )
    lines = [f"# {experiment.title} {len(jobs)} commands to run, {done} done already"]
    if not jobs:
        return lines[0]
    rates = {it: step_rate(machine, it) for it in sorted({run_dtype(job.run) for job in jobs})}
    said = ", ".join(f"{rate:.2g} FLOP/s in {dtype}" for dtype, rate in rates.items())
    lines.append(
        f"# times are for {machine_text(machine)}: {said}, which is {step_share(machine):.0%} of "
        "what large matrix products reach here just now, as whole runs did; starting and "
        "compiling, half a minute a command, come on top"
    )
    lines += [f"# {line}" for line in missing]
    rows = _rows(experiment)
    costs = {row: _Cost() for row in dict.fromkeys(rows.values())}
    in_all = _Cost()
    for job in jobs:
        flops, rate = run_flops(job.run, place.names), rates[run_dtype(job.run)]
        for cost in (costs[rows[job.run]], in_all):
            cost.add(flops, rate)
        cost = "not counted" if flops is None else f"{flops:.2g} FLOPs, {_time(flops / rate)}"
        words = job.run.command(place.runs, experiment.scale, job.seed, place.names)
        lines += [f"\n# {job.run.name}, seed {job.seed}: {cost}", typed(words)]
    lines.append("\n# row by row; a run that several share counts with the first of them:")
    width = max(map(len, costs))
    for row, cost in costs.items():
        if cost.jobs:
            runs = f"{cost.jobs} run{'s' if cost.jobs > 1 else ''}"
            lines.append(f"#   {row:<{width}}  {runs:>8}  {cost}")
    lines.append(f"# in all: {in_all}")
    return "\n".join(lines)


def _rows(experiment: Experiment) -> dict[Run, str]:
    """Returns the first row that needs each run; what has no row goes by its own name."""
    wanted = [(it.run, it.row) for it in experiment.cells]
    wanted += [(run, run.name) for run in experiment.pictures]
    rows: dict[Run, str] = {}
    for run, row in wanted:
        for needed in run.chain():
            rows.setdefault(needed, row)
    return rows


def _time(seconds: float) -> str:
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"about {seconds / size:.0f} {unit}"
    return f"about {seconds:.0f} s"
