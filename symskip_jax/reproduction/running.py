"""Runs what of an experiment is not done yet, one command after the other."""

import contextlib
import functools
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from symskip_jax.errors import StoppedError
from symskip_jax.reproduction.cost import run_flops
from symskip_jax.reproduction.datasets import missing_data
from symskip_jax.reproduction.folders import locked, make_way
from symskip_jax.reproduction.grid import Experiment, Run, Scale
from symskip_jax.reproduction.logs import collect, nominal_command
from symskip_jax.reproduction.notes import begin, end, read_note, was_stopped
from symskip_jax.reproduction.sameness import holds, is_done, recipe, source_recipes

# (arguments of `symskip`, file for what it says) -> exit status
Execute = Callable[[list[str], Path], int]

# The exit status of a command that said in one line what is wrong.
_REFUSED = 2


@dataclass(frozen=True)
class Place:
    """Where an experiment runs.

    runs: root of the working folders, with the checkpoints.
    results: root of what is kept: logs, tables, pictures.
    names: of the datasets, by their roles.
    """

    runs: Path
    results: Path
    names: Mapping[str, str]


@dataclass(frozen=True)
class Job:
    """One seed of a run that is still to be done."""

    run: Run
    seed: int


def to_do(experiment: Experiment, seeds: Sequence[int], place: Place) -> list[Job]:
    """Returns the jobs that are left, in an order in which each finds what it starts from."""
    jobs: dict[Job, None] = {}

    def need(run: Run, seed: int) -> None:
        for source in run.sources():
            if not _is_at_hand(source, experiment.scale, seed, place):
                need(source, seed)
        jobs[Job(run, run.seed(seed))] = None

    for seed in seeds:
        for run in experiment.runs():
            if not is_done(run, place.results, experiment.scale, seed):
                need(run, seed)
    return list(jobs)


def run_jobs(
    experiment: Experiment,
    jobs: Sequence[Job],
    place: Place,
    execute: Execute,
    machine: Mapping[str, Any],
) -> list[Job]:
    """Runs jobs one after the other, says of each what came of it, and returns those that failed.

    A job that fails takes with it those that start from it; the others go on. One that another
    process is at comes last, with those that start from it, and is not run twice.

    Raises:
        StoppedError: a command was stopped; the same command goes on from there.
    """
    failed: list[Job] = []
    later: list[Job] = []
    for is_last, some in ((False, jobs), (True, later)):
        for job in some:
            title = f"[{jobs.index(job) + 1}/{len(jobs)}] {job.run.name} seed {job.seed}"
            if _starts_from(job, failed):
                _say(f"{title}: left out, as what it starts from failed")
                failed.append(job)
            elif not is_last and _starts_from(job, later):
                _say(f"{title}: later, as what it starts from is")
                later.append(job)
            else:
                workdir = job.run.folder(place.runs, experiment.scale, job.seed)
                wait = functools.partial(_say_waiting, title) if is_last else None
                with locked(workdir, wait) as holder:
                    if holder:
                        _say(f"{title}: later, as {holder} is at it")
                        later.append(job)
                    elif not _is_left(job, jobs, experiment.scale, place):
                        _say(f"{title}: done meanwhile")
                    elif not _run(job, title, experiment.scale, place, execute, machine):
                        failed.append(job)
    return failed


def _run(
    job: Job,
    title: str,
    scale: Scale,
    place: Place,
    execute: Execute,
    machine: Mapping[str, Any],
) -> bool:
    """Runs a job and returns whether it succeeded."""
    run, seed = job.run, job.seed
    aside = make_way(run, scale, seed, runs=place.runs, names=place.names)
    if aside is not None:
        _say(f"{title}: what was there is of another recipe or source, and was moved to {aside}")
    _say(f"{title}: {run.verb}")
    workdir = run.folder(place.runs, scale, seed)
    workdir.mkdir(parents=True, exist_ok=True)
    replaces = aside is not None or _replaces(job, scale, place)
    begin(
        workdir,
        machine,
        command=nominal_command(run, scale, seed, place.names),
        flops=run_flops(run, place.names),
        sources=source_recipes(run, seed),
        **({"replaces": True} if replaces else {}),
        # A training has its own in `config.json`.
        **({} if run.is_training else {"recipe": recipe(run, seed)}),
    )
    log, began = workdir / "log.txt", time.perf_counter()
    status = execute(run.command(place.runs, scale, seed, place.names), log)
    end(workdir, time.perf_counter() - began, status)
    if was_stopped(status):
        raise StoppedError(
            f"{run.name} seed {seed} was stopped; the same command goes on from there"
        )
    if status:
        # Of data that is missing the command names an option of its own, which is not --data.
        missing = missing_data([run.role], place.names) if status == _REFUSED else []
        line = missing[0] if missing else _last_line(log)
        _say(f"{title}: FAILED with status {status}: {line}")
        return False
    collect(run, scale, seed, runs=place.runs, results=place.results, names=place.names)
    return True


def _replaces(job: Job, scale: Scale, place: Place) -> bool:
    """Whether there was another recipe's run, of which logs of old may be that tell no sources."""
    workdir, kept = (job.run.folder(it, scale, job.seed) for it in (place.runs, place.results))
    if any(read_note(it).get("replaces") for it in (workdir, kept)):
        return True
    return bool(read_note(kept)) and not holds(job.run, kept, scale, job.seed, place.results)


def _starts_from(job: Job, others: Sequence[Job]) -> bool:
    return any(it.run.seed(job.seed) == it.seed and it.run in job.run.chain() for it in others)


def _is_left(job: Job, jobs: Sequence[Job], scale: Scale, place: Place) -> bool:
    """Whether a job is still to be done: another process may have done it meanwhile."""
    if not is_done(job.run, place.results, scale, job.seed):
        return True
    is_needed = any(
        job.run in it.run.sources()
        and job.run.seed(it.seed) == job.seed
        # It may be done itself, and needed again by what starts from it in turn.
        and _is_left(it, jobs, scale, place)
        for it in jobs
    )
    return is_needed and not _is_at_hand(job.run, scale, job.seed, place)


def _is_at_hand(run: Run, scale: Scale, seed: int, place: Place) -> bool:
    """Whether a run has finished in its working folder, which has its checkpoint."""
    return is_done(run, place.runs, scale, seed, place.results)


def in_a_process(words: list[str], log: Path) -> int:
    """Runs a command of `symskip` in a process of its own and returns its exit status."""
    with log.open("a") as out:
        out.write(f"$ symskip {shlex.join(words)}\n")
        out.flush()
        # With the lock on its working folder, which is inheritable.
        process = subprocess.Popen(
            [sys.executable, "-m", "symskip_jax.cli", *words],
            stdout=out,
            stderr=out,
            close_fds=False,
        )
        before = signal.signal(signal.SIGTERM, lambda number, frame: process.terminate())
        try:
            return _wait(process)
        finally:
            signal.signal(signal.SIGTERM, before)


def _wait(process: subprocess.Popen[bytes]) -> int:
    while True:
        # The terminal tells the command of Ctrl-C too: let it save.
        with contextlib.suppress(KeyboardInterrupt):
            return process.wait()


def machine_of_a_process() -> dict[str, Any]:
    """Returns what commands run on, without this process taking hold of the accelerator."""
    command = [sys.executable, "-m", "symskip_jax.reproduction.machine"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    return json.loads(done.stdout)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1] if lines else "it said nothing"


def _say_waiting(title: str, holder: str) -> None:
    _say(f"{title}: waiting for {holder}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
