"""A run that is killed, stopped or damaged, and started again, ends as if nothing had happened."""

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import command
import numpy as np
import orbax.checkpoint as ocp
import pytest

from symskip_jax import cli
from symskip_jax.training.checkpoints import load_variables
from symskip_jax.training.records import read_metrics
from symskip_jax.training.watching import read_status

STEPS = {"pretrain": 36, "finetune": 24}
BY_THE_CLOCK = ("seconds", "images_per_second", "input_seconds", "saving_seconds")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    return command.write_images(tmp_path_factory.mktemp("data") / "images.npz")


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory, data) -> Path:
    workdir = tmp_path_factory.mktemp("runs") / "pretrained"
    command.succeed(*command.pretrain(workdir, data))
    return workdir


@pytest.fixture(scope="module")
def finetuned(tmp_path_factory, data, pretrained) -> Path:
    workdir = tmp_path_factory.mktemp("runs") / "finetuned"
    command.succeed(*command.finetune(workdir, data, f"--init={pretrained}"))
    return workdir


def assert_same_run(workdir: Path, expected: Path) -> None:
    """Everything that a run leaves is the same to the last bit, but for what the clock decides."""
    assert_same_outcome(workdir, expected)
    assert saved_steps(workdir) == saved_steps(expected)


def assert_same_outcome(workdir: Path, expected: Path) -> None:
    """Likewise; but of the checkpoints that are kept, one may be of where a run was stopped."""
    assert_same_arrays(workdir, expected)
    assert load_variables(workdir).meta == load_variables(expected).meta
    assert timeless_metrics(workdir) == timeless_metrics(expected)
    assert pictures(workdir) == pictures(expected)
    ours, theirs = saved_steps(workdir), saved_steps(expected)
    assert (len(ours), max(ours)) == (len(theirs), max(theirs)), (ours, theirs)


def assert_same_arrays(workdir: Path, expected: Path) -> None:
    ours, theirs = load_variables(workdir), load_variables(expected)
    arrays = ocp.tree.to_flat_dict(ours.state, sep=".")
    reference = ocp.tree.to_flat_dict(theirs.state, sep=".")
    assert arrays.keys() == reference.keys()
    sections = ("step", "key", "params.encoder", "batch_stats.encoder", "opt_state")
    assert all(any(name.startswith(part) for name in arrays) for part in sections)
    for name, array in arrays.items():
        assert array.dtype == reference[name].dtype
        np.testing.assert_array_equal(array, reference[name], err_msg=name)


def timeless_metrics(workdir: Path) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in record.items() if key not in BY_THE_CLOCK}
        for record in read_metrics(workdir)
    ]


def pictures(workdir: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (workdir / "images").glob("*.png")}


def saved_steps(workdir: Path) -> set[int]:
    return {int(p.name) for p in (workdir / "checkpoints").glob("*") if p.name.isdigit()}


def count_records(workdir: Path) -> int:
    path = workdir / "metrics.jsonl"
    return path.read_text().count("\n") if path.exists() else 0


class Moments:
    """Moments of one start of a run, seen from outside by what lies in its folder."""

    def __init__(self, workdir: Path):
        self._workdir = workdir
        self._saved, self._logs = saved_steps(workdir), self._count_logs()
        self._kept = count_records(workdir)

    def loop_begins(self) -> bool:
        return self._count_logs() > self._logs

    def in_a_save(self) -> bool:
        folder = self._workdir / "checkpoints"
        return self.loop_begins() and any(
            "orbax-checkpoint-tmp" in p.name for p in folder.iterdir()
        )

    def after_a_save(self) -> bool:
        return bool(saved_steps(self._workdir) - self._saved)

    def after_a_record(self) -> bool:
        return self.loop_begins() and count_records(self._workdir) > self._kept

    def _count_logs(self) -> int:
        return len(list((self._workdir / "tensorboard").glob("*")))


def wait_for(moment: Callable[[], bool], process: Any) -> None:
    deadline = time.monotonic() + command.PATIENCE
    while process.poll() is None and not moment():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def kill_again_and_again(workdir: Path, arguments: Sequence[Any], seed: int, longest: float) -> int:
    """Starts a run several times, kills it each time, and returns how often it was still alive."""
    delays = random.Random(seed)
    kills = 0
    for name, longest_delay in (
        ("loop_begins", 0.0),
        ("in_a_save", 0.0),
        ("after_a_save", 0.0),
        ("in_a_save", 0.01),
        ("after_a_save", longest),
        ("in_a_save", longest),
    ):
        moments = Moments(workdir)
        process = command.start(*arguments)
        wait_for(getattr(moments, name), process)
        time.sleep(delays.uniform(0, longest_delay))
        os.killpg(process.pid, signal.SIGKILL)
        kills += command.finish(process).returncode == -signal.SIGKILL
    return kills


def test_a_pretraining_that_is_killed_ends_like_one_that_is_not(tmp_path, data, pretrained):
    arguments = command.pretrain(tmp_path, data)
    assert kill_again_and_again(tmp_path, arguments, seed=1, longest=0.5) >= 4
    finished = command.succeed(*arguments)
    assert f" of {STEPS['pretrain']}" in finished.stderr.splitlines()[0]
    assert finished.stderr.startswith("resumed after step ")
    assert_same_run(tmp_path, pretrained)
    assert len(timeless_metrics(tmp_path)) == 24 + 6  # dispatches and evaluations


def test_a_finetuning_that_is_killed_ends_like_one_that_is_not(
    tmp_path, data, pretrained, finetuned
):
    arguments = command.finetune(tmp_path, data, f"--init={pretrained}")
    assert kill_again_and_again(tmp_path, arguments, seed=2, longest=0.1) >= 4
    command.succeed(*arguments)
    assert_same_run(tmp_path, finetuned)


def test_a_stopped_run_saves_says_so_and_goes_on(tmp_path, data, pretrained):
    arguments = command.pretrain(tmp_path, data)
    # Before the first step there is nothing to save, and it ends at once.
    process = command.start(*arguments)
    process.terminate()
    assert command.finish(process).returncode == -signal.SIGTERM
    for number in (signal.SIGTERM, signal.SIGINT):
        moment = Moments(tmp_path).after_a_record
        process = command.start(*arguments)
        wait_for(moment, process)
        process.send_signal(number)
        stopped = command.finish(process)
        step = max(saved_steps(tmp_path))
        assert stopped.returncode == cli.EXIT_STOPPED == 75, stopped.stderr
        assert stopped.stderr.splitlines()[-1] == (
            f"symskip: stopped by {number.name} after step {step} of 36, and saved; "
            "the same command goes on from there"
        )
    assert command.succeed(*arguments).stderr.startswith(f"resumed after step {step} of 36\n")
    assert_same_run(tmp_path, pretrained)


YOUNGER = (
    "config.run.replicas",
    "config.run.shard_optimizer",
    "config.model.batch_norm_devices",
    "config.pretrain.per_device_batch_size",
    "config.finetune.per_device_batch_size",
    "batch_norm_groups",
)


def test_a_run_from_before_some_fields_goes_on_with_what_they_are_unset(
    tmp_path, data, pretrained, capfd
):
    shutil.copytree(pretrained, tmp_path / "run")
    path = tmp_path / "run" / "config.json"
    said = json.loads(path.read_text())
    path.write_text(json.dumps({key: said[key] for key in said.keys() - set(YOUNGER)}))
    arguments = command.pretrain(tmp_path / "run", data)
    assert cli.main([*map(str, arguments), "--config.model.batch_norm_devices=1"]) == 2
    assert "batch_norm_groups (1 there, 8 here)" in capfd.readouterr().err
    assert cli.main([*map(str, arguments), "--config.run.replicas=2"]) == 0
    assert "finished already: 36 steps" in capfd.readouterr().err


def test_a_second_ctrl_c_does_not_wait(tmp_path):
    # A thousand steps a dispatch, so that the second Ctrl-C comes before the end of one.
    data = command.write_images(tmp_path / "images.npz", train=8000)
    arguments = command.pretrain(
        tmp_path / "run",
        data,
        "--config.run.steps_per_dispatch=1000",
        "--config.run.eval_every=6",
        "--config.run.checkpoint_every=6",
    )
    moment = Moments(tmp_path / "run").after_a_record
    process = command.start(*arguments)
    wait_for(moment, process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    stopped = command.finish(process)
    assert stopped.returncode == cli.EXIT_INTERRUPTED == 130, stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert "Ctrl-C again ends at once" in stopped.stderr
    assert saved_steps(tmp_path / "run") == set()


def test_a_finished_run_started_again_changes_nothing(tmp_path, data, finetuned, pretrained):
    workdir = tmp_path / "again"
    shutil.copytree(finetuned, workdir)
    before = contents(workdir)
    again = command.succeed(*command.finetune(workdir, data, f"--init={pretrained}"))
    assert again.stderr.startswith("finished already: 24 steps\nresults are in ")
    assert contents(workdir) == before


def test_a_run_that_was_killed_when_all_was_saved_is_tidied_up(tmp_path, data, pretrained):
    workdir = tmp_path / "run"
    shutil.copytree(pretrained, workdir)
    # As if killed before the checkpoint that the last one outdates was deleted.
    shutil.copytree(workdir / "checkpoints" / "33", workdir / "checkpoints" / "30")
    status = read_status(workdir) | {"state": "running", "activity": "saving"}
    (workdir / "status.json").write_text(json.dumps(status))
    assert command.run("status", workdir).returncode == 1
    again = command.succeed(*command.pretrain(workdir, data))
    assert again.stderr.startswith("finished already: 36 steps\nresults are in ")
    assert saved_steps(workdir) == saved_steps(pretrained)
    assert "finished" in command.succeed("status", workdir).stdout


def contents(workdir: Path) -> dict[Path, bytes]:
    files = [p for p in workdir.rglob("*") if p.is_file() and p.name != "lock"]
    return {p.relative_to(workdir): p.read_bytes() for p in files}


def largest_file(folder: Path) -> Path:
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def change_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_damaged_checkpoint_is_reported_and_the_one_before_taken(tmp_path, data, pretrained):
    workdir = tmp_path / "damaged"
    shutil.copytree(pretrained, workdir)
    change_a_byte(largest_file(workdir / "checkpoints" / "36" / "state"))
    resumed = command.succeed(*command.pretrain(workdir, data))
    first, second, _, _, *rest, _ = resumed.stderr.splitlines()
    assert first.startswith("symskip: checkpoint 36 cannot be read (")
    assert first.endswith("broken_checkpoints, going on from 33")
    assert second == "resumed after step 33 of 36"
    assert all(line.startswith("step 36 epoch 6 ") for line in rest)
    assert_same_run(workdir, pretrained)


@pytest.fixture(scope="module")
def finished_here(tmp_path_factory, data) -> Iterator[Path]:
    """A run of this process, on its eight devices: starts of it cost no imports."""
    workdir = tmp_path_factory.mktemp("runs") / "here"
    assert cli.main([*map(str, command.pretrain(workdir, data))]) == 0
    return workdir


@pytest.mark.parametrize(
    ("file", "harm"),
    [
        ("meta/metadata", cut_short),
        ("meta/metadata", Path.unlink),
        ("state/_METADATA", cut_short),
        ("state/manifest.ocdbt", Path.unlink),
        ("state/ocdbt.process_0", lambda folder: cut_short(largest_file(folder))),
        ("state/ocdbt.process_0", lambda folder: largest_file(folder).unlink()),
        ("state/d", shutil.rmtree),
    ],
)
def test_any_file_that_a_run_needs_may_be_damaged(
    tmp_path, data, finished_here, caplog, file, harm
):
    workdir = tmp_path / "damaged"
    shutil.copytree(finished_here, workdir)
    harm(workdir / "checkpoints" / "36" / file)
    assert cli.main([*map(str, command.pretrain(workdir, data))]) == 0
    assert "checkpoint 36 cannot be read" in caplog.text
    assert (workdir / "broken_checkpoints" / "36").is_dir()
    assert_same_run(workdir, finished_here)


def test_an_evaluation_that_was_left_is_made_up_for(tmp_path, data, finished_here):
    workdir = tmp_path / "left"
    shutil.copytree(finished_here, workdir)
    checkpoint = workdir / "checkpoints" / "36"
    parts = [path for part in ("state", "meta") for path in (checkpoint / part).rglob("*")]
    before = {path: path.stat().st_ino for path in parts}
    # The stop came after the record was written, or before: it is there once in the end.
    for kept in (0, -1):
        shutil.rmtree(checkpoint / "metrics")
        lines = (workdir / "metrics.jsonl").read_text().splitlines(keepends=True)
        (workdir / "metrics.jsonl").write_text("".join(lines[: kept or None]))
        assert cli.main([*map(str, command.pretrain(workdir, data))]) == 0
        assert_same_run(workdir, finished_here)
        name = "checkpoints/36/metrics/metrics"
        assert (workdir / name).read_bytes() == (finished_here / name).read_bytes()
    # The checkpoint was there all the time.
    assert all(path.stat().st_ino == number for path, number in before.items())


def test_a_run_whose_checkpoints_are_all_damaged_is_refused_and_left_alone(
    tmp_path, data, finished_here, capfd
):
    workdir = tmp_path / "damaged"
    shutil.copytree(finished_here, workdir)
    for step in saved_steps(workdir):
        cut_short(workdir / "checkpoints" / str(step) / "meta" / "metadata")
    before = contents(workdir)
    for _ in range(2):
        assert cli.main([*map(str, command.pretrain(workdir, data))]) == cli.EXIT_WRONG_INPUT
        message = capfd.readouterr().err
        assert message.count("\n") == 1
        assert "none of the checkpoints [" in message and "delete this one" in message
        assert str(workdir / "checkpoints") in message
    assert contents(workdir) == before
