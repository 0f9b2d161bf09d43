"""Disks, clocks and second starts that get in the way of a run: it ends as if they had not."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import command
import pytest
import several
from soak import soak
from test_resume import assert_same_arrays, pictures, saved_steps, timeless_metrics, wait_for

from symskip_jax import cli
from symskip_jax.training.watching import read_status
from symskip_jax.training.workdir import claim_workdir

# Long enough to get in its way.
LONG = (
    *("--config.pretrain.epochs=30", "--config.pretrain.milestones=(15,)"),
    *("--config.run.checkpoint_every=5", "--config.run.eval_every=10"),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    return command.write_images(tmp_path_factory.mktemp("data") / "images.npz")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, data) -> Path:
    workdir = tmp_path_factory.mktemp("runs") / "undisturbed"
    command.succeed(*command.pretrain(workdir, data, *LONG))
    return workdir


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of four megabytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(disk)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only who may mount a file system can fill one")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def assert_same_end(workdir: Path, expected: Path) -> None:
    """All that was learnt and measured is the same; a save that was owed came later.

    Pictures may be missing, and those that are there are the same.
    """
    assert_same_arrays(workdir, expected)
    assert timeless_metrics(workdir) == timeless_metrics(expected)
    assert pictures(workdir).items() <= pictures(expected).items()


def fill(disk: Path) -> Path:
    path = disk / "filler"
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(2**16)):
                pass
        except OSError:
            return path
    return path


def lines_of(process: subprocess.Popen[str]) -> Callable[[str], list[str]]:
    """Reads what a process says on standard error up to a line with some words in it."""

    def read(words: str) -> list[str]:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if words in line:
                return lines
        raise AssertionError(f"{words!r} was not said: {lines}")

    return read


def test_a_disk_that_is_full_for_a_while(small_disk, data, undisturbed):
    workdir = small_disk / "run"
    process = command.start(*command.pretrain(workdir, data, *LONG))
    wait_for(lambda: bool(saved_steps(workdir)), process)
    filler = fill(small_disk)
    said = lines_of(process)("could not be saved (")
    assert "No space left" in said[-1] or "MiB are free" in said[-1]
    assert "the run goes on and tries again" in said[-1]
    filler.unlink()
    result = command.finish(process)
    assert result.returncode == 0, result.stderr
    # But for TensorBoard, which does without what it missed.
    assert_same_end(workdir, undisturbed)


def test_a_disk_that_stays_full(small_disk, data, undisturbed):
    workdir = small_disk / "run"
    process = command.start(*command.pretrain(workdir, data, *LONG))
    wait_for(lambda: bool(saved_steps(workdir)), process)
    filler = fill(small_disk)
    result = command.finish(process)
    assert result.returncode == cli.EXIT_UNSAVED == 74, result.stderr
    last = result.stderr.splitlines()[-1]
    whole = max(saved_steps(workdir))
    assert f"the last whole checkpoint is that of step {whole}; mend that" in last
    filler.unlink()
    resumed = command.succeed(*command.pretrain(workdir, data, *LONG))
    assert resumed.stderr.startswith(f"resumed after step {whole} of 180")
    assert_same_end(workdir, undisturbed)


def test_a_disk_that_is_full_of_two_processes(small_disk, tmp_path, data):
    several.succeed(command.pretrain(tmp_path / "undisturbed", data, *LONG))
    workdir = small_disk / "run"
    arguments = command.pretrain(workdir, data, *LONG)
    with several.started(arguments) as here:
        wait_for(lambda: bool(saved_steps(workdir)), here[0])
        filler = fill(small_disk)
        ended = several.finish(here)
    whole = max(saved_steps(workdir))
    for status, said in ended:
        assert status == cli.EXIT_UNSAVED, said
        assert f"the last whole checkpoint is that of step {whole}; mend that" in said
        assert "Traceback" not in said
    filler.unlink()
    with several.started(arguments) as here:
        wait_for(lambda: max(saved_steps(workdir)) > whole, here[0])
        filler = fill(small_disk)
        lines_of(here[0])("could not be saved (")
        filler.unlink()
        assert [status for status, _ in several.finish(here)] == [0, 0]
    assert_same_end(workdir, tmp_path / "undisturbed")


def test_a_disk_that_cannot_be_written(small_disk, data):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    result = command.run(*command.pretrain(small_disk / "run", data))
    assert result.returncode == cli.EXIT_WRONG_INPUT
    assert result.stderr == (
        f"symskip: --workdir {small_disk}/run cannot be written (Read-only file system); "
        "choose another\n"
    )


def test_two_runs_in_one_folder(tmp_path, data, undisturbed):
    first = command.start(*command.pretrain(tmp_path, data, *LONG))
    wait_for(lambda: bool(read_status(tmp_path)), first)
    # It holds its lock meanwhile, and does not end before the second has begun.
    os.kill(first.pid, signal.SIGSTOP)
    second = command.run(*command.pretrain(tmp_path, data, *LONG))
    os.kill(first.pid, signal.SIGCONT)
    assert second.returncode == cli.EXIT_WRONG_INPUT
    assert f"--workdir {tmp_path} has a run that is going on (process {first.pid} on" in (
        second.stderr
    )
    assert command.finish(first).returncode == 0
    assert_same_end(tmp_path, undisturbed)


def test_a_start_waits_for_whoever_looks_at_its_folder(tmp_path):
    def hold(seconds: float) -> threading.Timer:
        file = (tmp_path / "lock").open()
        fcntl.flock(file, fcntl.LOCK_SH)  # as `symskip status` does
        timer = threading.Timer(seconds, file.close)
        timer.start()
        return timer

    claim_workdir(tmp_path, {}, {}).close()
    for holder, seconds in (("here", 0.5), ("elsewhere", 3.5)):
        if holder == "elsewhere":
            (tmp_path / "lock").write_text("process 1 on elsewhere\n")
        timer = hold(seconds)
        claim_workdir(tmp_path, {}, {}).close()
        timer.join()


# Runs the command while the clock on the wall goes back and forth by hours and days. A save in
# which it jumps ahead fails, since Orbax's patience goes by that clock; between two jumps there is
# time for one on a busy machine.
JUMPING_CLOCK = """
import sys, threading, time
from symskip_jax import cli
real, real_ns, offsets = time.time, time.time_ns, [0]
def jump():
    for n in range(10**6):
        offsets[0] = (-86_400, 7_200, 31 * 86_400, -3_600)[n % 4]
        time.sleep(1)
threading.Thread(target=jump, daemon=True).start()
time.time = lambda: real() + offsets[0]
time.time_ns = lambda: real_ns() + offsets[0] * 10**9
sys.exit(cli.main(sys.argv[1:]))
"""


def test_a_clock_that_jumps(tmp_path, data, undisturbed):
    words = [*map(str, command.pretrain(tmp_path, data, *LONG))]
    environment = command.single_device(os.environ)
    run = subprocess.run(
        [sys.executable, "-c", JUMPING_CLOCK, *words],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert_same_end(tmp_path, undisturbed)


def test_a_short_soak(tmp_path):
    ends = soak(tmp_path, minutes=0, seed=5, processes=1)
    assert ends["rounds"] == 1
    assert ends["-9"] >= 1
