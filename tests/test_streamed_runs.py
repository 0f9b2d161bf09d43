"""Runs of the command whose images are streamed."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import command
import cv2
import numpy as np
import pytest
from data_helpers import noise_images, write_image
from test_resume import Moments, assert_same_arrays, timeless_metrics, wait_for

SMALL = ("--config.pretrain.epochs=3", "--config.pretrain.milestones=(1, 2)")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    """Images of several sizes, 20 to train on, and one of them broken."""
    folder = tmp_path_factory.mktemp("photographs")
    for number in range(27):
        image = noise_images(9 + number % 4, 10 + number % 3, 3, seed=number) // 2
        write_image(folder / "ab"[number % 2] / f"{number:02}.png", image)
    broken = folder / "a" / "10.png"
    broken.write_bytes(broken.read_bytes()[:70])
    return folder


def pretrain(workdir: Path, photographs: Path, *more: str) -> Any:
    skip = "--config.data.bad_image=skip"
    return command.pretrain(workdir, f"folder:{photographs}", *SMALL, skip, *more)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, photographs) -> tuple[Path, subprocess.CompletedProcess[str]]:
    workdir = tmp_path_factory.mktemp("runs") / "streamed"
    return workdir, command.succeed(*pretrain(workdir, photographs))


def test_what_differs_in_size_is_streamed_and_says_so(finished, photographs):
    workdir, result = finished
    assert "images, streamed" in result.stderr
    assert f"skipped {photographs}/a/10.png" in result.stderr
    assert len(list((workdir / "images").glob("*.png"))) == 3
    assert all(np.isfinite(record["loss"]) for record in timeless_metrics(workdir))


def test_a_streamed_run_that_is_killed_ends_like_one_that_is_not(tmp_path, finished, photographs):
    moments = Moments(tmp_path)
    process = command.start(*pretrain(tmp_path, photographs))
    wait_for(moments.after_a_save, process)
    os.killpg(process.pid, signal.SIGKILL)
    assert command.finish(process).returncode == -signal.SIGKILL
    # Read by processes of their own where it was read by threads.
    again = ("--config.data.workers=2", "--config.data.threads=1")
    assert "resumed after step" in command.succeed(*pretrain(tmp_path, photographs, *again)).stderr
    assert_same_arrays(tmp_path, finished[0])
    assert timeless_metrics(tmp_path) == timeless_metrics(finished[0])


def test_streamed_and_resident_runs_are_the_same_but_for_rounding(tmp_path):
    data = command.write_images(tmp_path / "images.npz")
    losses = []
    for how in ("resident", "streamed"):
        workdir = tmp_path / how
        init = (f"--init={workdir / 'pretrain'}",)
        for verb, more in (("pretrain", ()), ("finetune", init)):
            arguments = getattr(command, verb)(workdir / verb, data, f"--config.data.input={how}")
            result = command.succeed(*arguments, *more)
            assert how in result.stderr
            metrics = timeless_metrics(workdir / verb)
            losses.append([record["loss"] for record in metrics])
    np.testing.assert_allclose(losses[2], losses[0], rtol=1e-4)
    np.testing.assert_allclose(losses[3], losses[1], rtol=1e-3)


def test_a_broken_image_ends_a_run_that_does_not_skip_it(tmp_path, photographs):
    result = command.run(*pretrain(tmp_path, photographs, "--config.data.bad_image=fail"))
    assert result.returncode == 2 and "Traceback" not in result.stderr
    (line,) = [line for line in result.stderr.splitlines() if "a/10.png" in line]
    assert "cut short" in line


def test_a_dataset_that_vanishes_leaves_the_checkpoint_whole(tmp_path, finished, photographs):
    folder = tmp_path / "photographs"
    shutil.copytree(photographs, folder)
    arguments = (*pretrain(tmp_path / "run", folder), "--config.data.read_retries=1")
    moments = Moments(tmp_path / "run")
    process = command.start(*arguments)
    wait_for(moments.after_a_save, process)
    folder.rename(tmp_path / "elsewhere")
    result = command.finish(process)
    if result.returncode == 0:
        pytest.skip("the run had read everything before its images vanished")
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert "cannot be read" in result.stderr and "tried 2 times" in result.stderr
    (tmp_path / "elsewhere").rename(folder)
    assert "resumed after step" in command.succeed(*arguments).stderr
    records, expected = timeless_metrics(tmp_path / "run"), timeless_metrics(finished[0])
    assert records == expected


def test_no_process_that_reads_images_outlives_a_killed_run(tmp_path, photographs):
    workers = ("--config.data.workers=2", "--config.pretrain.epochs=200")
    moments = Moments(tmp_path)
    process = command.start(*pretrain(tmp_path, photographs, *workers))
    wait_for(moments.after_a_save, process)
    readers = children(process.pid)
    assert len(readers) >= 2
    os.kill(process.pid, signal.SIGKILL)
    command.finish(process)  # its pipes are the readers' too
    deadline = time.monotonic() + 60
    while any(map(is_running, readers)):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_signal_to_all_processes_of_a_run_saves_it(tmp_path, photographs):
    workers = ("--config.data.workers=1", "--config.pretrain.epochs=200")
    moments = Moments(tmp_path)
    process = command.start(*pretrain(tmp_path, photographs, *workers))
    wait_for(moments.after_a_save, process)
    os.killpg(process.pid, signal.SIGINT)
    result = command.finish(process)
    assert result.returncode == 75, result.stderr
    assert "stopped by SIGINT" in result.stderr and "and saved" in result.stderr


def test_the_configuration_for_folders_goes_from_nothing_to_a_sheet(tmp_path, photographs):
    result = command.succeed(
        "pretrain",
        "--config=folder:small",
        f"--workdir={tmp_path}",
        f"--config.data.name=folder:{photographs}",
        "--config.model.n=4",
        "--config.pretrain.batch_size=8",
        "--config.pretrain.epochs=1",
        "--config.pretrain.milestones=()",
    )
    assert "images, streamed" in result.stderr
    (sheet,) = (tmp_path / "images").glob("*.png")
    assert cv2.imread(str(sheet)).std() > 10


def test_a_killed_reader_ends_the_run_with_its_reason(tmp_path, photographs):
    workers = ("--config.data.workers=1", "--config.pretrain.epochs=200")
    moments = Moments(tmp_path)
    process = command.start(*pretrain(tmp_path, photographs, *workers))
    wait_for(moments.after_a_save, process)
    for pid in children(process.pid):
        if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
    result = command.finish(process)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert "a process that reads images died" in result.stderr
    assert list((tmp_path / "checkpoints").iterdir())


def test_a_reader_that_stalls_is_waited_for_and_told_of(tmp_path, photographs):
    long = ("--config.data.workers=1", "--config.pretrain.epochs=40")
    command.succeed(*pretrain(tmp_path / "undisturbed", photographs, *long))
    workdir = tmp_path / "stalled"
    moments = Moments(workdir)
    process = command.start(*pretrain(workdir, photographs, *long, "--config.run.stall_seconds=1"))
    wait_for(moments.after_a_save, process)
    readers = [
        pid
        for pid in children(process.pid)
        if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    for pid in readers:
        os.kill(pid, signal.SIGSTOP)
    try:
        wait_for(lambda: any((workdir / "stacks").glob("*.txt")), process)
        assert process.poll() is None
    finally:
        for pid in readers:
            os.kill(pid, signal.SIGCONT)
    result = command.finish(process)
    assert result.returncode == 0, result.stderr
    assert "input has lasted" in result.stderr and "stacks/process_0.txt" in result.stderr
    assert "batch_of" in (workdir / "stacks" / "process_0.txt").read_text()
    assert_same_arrays(workdir, tmp_path / "undisturbed")
    assert timeless_metrics(workdir) == timeless_metrics(tmp_path / "undisturbed")


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def is_running(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
