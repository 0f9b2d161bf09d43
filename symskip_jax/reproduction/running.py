"""Runs what of an experiment is not done yet, one command after the other."""

import contextlib
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
from symskip_jax.reproduction.grid import Experiment, Run
from symskip_jax.reproduction.logs import collect, is_done, nominal_command, write_note

# (arguments of `symskip`, file for what it says) -> exit status
Execute = Callable[[list[str], Path], int]

_STOPPED = (75, 130, 143, -2, -15)


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
            if not is_done(source, place.runs, experiment.scale, seed):
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

    A job that fails takes with it those that start from it; the others go on.

    Raises:
        StoppedError: a command was stopped; the same command goes on from there.
    """
    failed: list[Job] = []
    for number, job in enumerate(jobs, 1):
        title = f"[{number}/{len(jobs)}] {job.run.name} seed {job.seed}"
        if any(it.run.seed(job.seed) == it.seed and it.run in job.run.chain() for it in failed):
            _say(f"{title}: left out, as what it starts from failed")
            failed.append(job)
            continue
        _say(f"{title}: {job.run.verb}")
        workdir = _workdir(job.run, experiment, job.seed, place)
        workdir.mkdir(parents=True, exist_ok=True)
        words = job.run.command(place.runs, experiment.scale, job.seed, place.names)
        log, began = workdir / "log.txt", time.perf_counter()
        status = execute(words, log)
        seconds = time.perf_counter() - began
        write_note(
            workdir,
            done=status == 0,
            seconds=seconds,
            flops=run_flops(job.run, place.names),
            command=nominal_command(job.run, experiment.scale, job.seed, place.names),
            machine=dict(machine),
        )
        if status == 0:
            collect(
                job.run,
                experiment.scale,
                job.seed,
                runs=place.runs,
                results=place.results,
                names=place.names,
            )
        elif status in _STOPPED:
            raise StoppedError(
                f"{job.run.name} seed {job.seed} was stopped; the same command goes on from there"
            )
        else:
            _say(f"{title}: FAILED with status {status}: {_last_line(log)}")
            failed.append(job)
    return failed


def in_a_process(words: list[str], log: Path) -> int:
    """Runs a command of `symskip` in a process of its own and returns its exit status."""
    with log.open("a") as out:
        out.write(f"$ symskip {shlex.join(words)}\n")
        out.flush()
        process = subprocess.Popen(
            [sys.executable, "-m", "symskip_jax.cli", *words], stdout=out, stderr=out
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


def _workdir(run: Run, experiment: Experiment, seed: int, place: Place) -> Path:
    return run.folder(place.runs, experiment.scale, seed)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1] if lines else "it said nothing"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
