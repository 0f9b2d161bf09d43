#!/usr/bin/env python3
"""Kills a run at random moments again and again, and compares its end with an undisturbed run's.

    python tests/soak.py --minutes 60

Half of the starts are of one process, half of two; most end by SIGKILL of one of them, some by
SIGTERM. Exit status 1 if anything but the clock's figures differs.
"""

import argparse
import collections
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

import command
import several
from test_resume import assert_same_outcome, count_records, saved_steps

TERM_SHARE = 0.25


def soak(folder: Path, minutes: float, seed: int, processes: int) -> collections.Counter[str]:
    """Returns how the starts ended.

    Args:
        folder: empty.
        minutes: of kills; the run is as long as that asks for.
        seed: of the moments.
        processes: of each start.

    Raises:
        AssertionError: the disturbed run ended otherwise than the undisturbed one.
    """
    data = command.write_images(folder / "images.npz")
    draws, ends = random.Random(seed), collections.Counter[str]()
    deadline = time.monotonic() + 60 * minutes
    rounds = 0
    while not rounds or time.monotonic() < deadline:
        # A run is soon over: rounds of it, each with a seed of its own.
        disturbed, undisturbed = folder / "disturbed", folder / "undisturbed"
        arguments = (f"--config.seed={seed + rounds}",)
        several.succeed(command.pretrain(undisturbed, data, *arguments), processes=processes)
        while True:
            with several.started(
                command.pretrain(disturbed, data, *arguments), processes=processes
            ) as here:
                _disturb(here, disturbed, draws)
                statuses = [status for status, _ in several.finish(here)]
            ends[", ".join(map(str, sorted(statuses)))] += 1
            if not any(statuses):
                break
        assert_same_outcome(disturbed, undisturbed)
        for it in (disturbed, undisturbed):
            shutil.rmtree(it)
        rounds += 1
    ends["rounds"] = rounds
    return ends


def _disturb(here, workdir: Path, draws: random.Random) -> None:
    """Sends a signal to one of the processes at a moment of its loop, a save or its start."""
    victim = draws.choice(here)
    number = signal.SIGTERM if draws.random() < TERM_SHARE else signal.SIGKILL
    kept, saved = count_records(workdir), saved_steps(workdir)
    moments = (
        lambda: True,
        lambda: count_records(workdir) > kept,
        lambda: bool(saved_steps(workdir) - saved),
        lambda: any("tmp" in it.name for it in (workdir / "checkpoints").glob("*")),
    )
    moment, delay = draws.choice(moments), draws.choice((0.0, draws.random(), 8 * draws.random()))
    while victim.poll() is None and not moment():
        time.sleep(0.001)
    time.sleep(delay)
    if victim.poll() is None:
        os.killpg(victim.pid, number)


def main() -> int:
    """Runs it and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0, help="of kills (60)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2], help="of a start (1 2)")
    given = parser.parse_args()
    minutes = given.minutes / len(given.processes)
    for processes in given.processes:
        with tempfile.TemporaryDirectory() as folder:
            try:
                ends = soak(Path(folder), minutes, given.seed, processes)
            except AssertionError:
                print(f"{processes} processes:\n{traceback.format_exc()}")
                kept = tempfile.mkdtemp(prefix="soak-")
                shutil.copytree(folder, kept, dirs_exist_ok=True)
                print(f"what there was is in {kept}")
                return 1
        kills = sum(ends.values()) - 2 * ends["rounds"]
        print(f"{processes} processes: {kills} disturbed starts, {ends['rounds']} runs, all alike")
        print(f"  statuses: {dict(ends)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
