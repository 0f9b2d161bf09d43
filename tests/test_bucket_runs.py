"""Runs that live on Cloud Storage, here a folder that is served as a bucket."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import command
import pytest
import several
from fake_gcs import BUCKET, FakeGcs, serve
from test_processes import assert_equal_to_rounding
from test_resume import assert_same_arrays, pictures, saved_steps, timeless_metrics, wait_for

from symskip_jax import cli

ADDRESS = f"gs://{BUCKET}/runs/tiny"


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    return command.write_images(tmp_path_factory.mktemp("data") / "images.npz")


@pytest.fixture(scope="module")
def in_a_folder(tmp_path_factory, data) -> Path:
    workdir = tmp_path_factory.mktemp("runs") / "folder"
    command.succeed(*command.pretrain(workdir, data))
    return workdir


@pytest.fixture
def bucket(tmp_path) -> Iterator[FakeGcs]:
    (tmp_path / "bucket").mkdir()
    with serve(tmp_path / "bucket") as gcs:
        yield gcs


def start(bucket: FakeGcs, host: Path, *arguments) -> subprocess.Popen[str]:
    """Starts the command on a host that has nothing but its own cache."""
    environment = {**bucket.environment, "XDG_CACHE_HOME": str(host)}
    return command.start(*arguments, environment=environment)


def test_a_run_on_a_bucket_goes_on_on_another_host(tmp_path, bucket, data, in_a_folder):
    arguments = ["pretrain", *command.TINY, f"--config.data.name={data}", "--workdir", ADDRESS]
    there = bucket.root / "runs" / "tiny"
    process = start(bucket, tmp_path / "first", *arguments)
    wait_for(lambda: len(saved_steps(there)) > 1, process)
    os.killpg(process.pid, signal.SIGKILL)
    assert command.finish(process).returncode == -signal.SIGKILL
    result = command.finish(start(bucket, tmp_path / "second", *arguments))
    assert result.returncode == 0, result.stderr
    assert "resumed after step " in result.stderr
    # What lies on the bucket is all that a run in a folder leaves.
    assert_same_arrays(there, in_a_folder)
    assert timeless_metrics(there) == timeless_metrics(in_a_folder)
    assert pictures(there).items() <= pictures(in_a_folder).items()
    assert max(saved_steps(there)) == 36
    assert (there / "checkpoints" / "36" / "seal.json").exists()

    status = command.finish(start(bucket, tmp_path / "third", "status", ADDRESS))
    assert status.returncode == 0, status.stderr
    assert "finished" in status.stdout and "36 of 36 (100%)" in status.stdout
    tuned = ("finetune", *command.TINY, f"--config.data.name={data}", "--init", ADDRESS)
    result = command.finish(
        start(bucket, tmp_path / "third", *tuned, "--workdir", tmp_path / "tuned")
    )
    assert result.returncode == 0, result.stderr
    other = command.finish(
        start(bucket, tmp_path / "third", *arguments, "--config.seed=1", "--workdir", ADDRESS)
    )
    assert other.returncode == 2 and "holds another run: config.seed" in other.stderr


def test_two_hosts_that_share_nothing_but_a_bucket(tmp_path, bucket, data, in_a_folder):
    words = ["pretrain", *command.TINY, f"--config.data.name={data}", "--workdir", ADDRESS]
    there = bucket.root / "runs" / "tiny"

    def on_host(number, *words):
        return start(bucket, tmp_path / f"{number}", *words)

    with several.started(words, start=on_host) as here:
        wait_for(lambda: len(saved_steps(there)) > 1, here[0])
        here[1].terminate()
        for status, said in several.finish(here):
            assert status == cli.EXIT_STOPPED, said
    with several.started(words, start=on_host) as here:
        for status, said in several.finish(here):
            assert status == 0, said
    assert_equal_to_rounding(there, in_a_folder)
    assert pictures(there).keys() == pictures(in_a_folder).keys()


def test_a_bucket_that_stalls_is_waited_for_and_the_stacks_are_written(
    tmp_path, bucket, data, in_a_folder
):
    answers = threading.Event()
    bucket.before_write = lambda name, content: answers.wait() if "checkpoints/" in name else None
    arguments = ["pretrain", *command.TINY, f"--config.data.name={data}", "--workdir", ADDRESS]
    process = start(bucket, tmp_path / "host", *arguments, "--config.run.stall_seconds=0.5")
    folder = tmp_path / "host" / "symskip_jax" / "runs"
    wait_for(lambda: any(folder.glob("*/stacks/process_0.txt")), process)
    assert process.poll() is None
    answers.set()
    result = command.finish(process)
    assert result.returncode == 0, result.stderr
    assert "saving has lasted" in result.stderr and "what every thread is at is in" in result.stderr
    there = bucket.root / "runs" / "tiny"
    assert_same_arrays(there, in_a_folder)
    assert "save" in (there / "stacks" / "process_0.txt").read_text()


def test_a_bucket_that_stalls_at_the_end_keeps_two_processes_no_longer_than_a_minute(
    tmp_path, bucket, data, in_a_folder
):
    answers = threading.Event()

    def holds_the_last_word(name, content):
        if name.endswith("status.json") and b'"finished"' in content:
            answers.wait()

    bucket.before_write = holds_the_last_word
    words = ["pretrain", *command.TINY, f"--config.data.name={data}", "--workdir", ADDRESS]

    def on_host(number, *words):
        return start(bucket, tmp_path / f"{number}", *words)

    with several.started(words, start=on_host) as here:
        (status, said), (status_of_other, other) = several.finish(here)
    answers.set()
    assert status == 0, said
    assert status_of_other == 0, other
    assert "has not answered for 60 s: the last of the log may be in" in said
    assert_equal_to_rounding(bucket.root / "runs" / "tiny", in_a_folder)


def test_a_bucket_that_refuses_is_answered_in_a_line(tmp_path, bucket, data):
    bucket.status = 403
    arguments = ["pretrain", *command.TINY, f"--config.data.name={data}", "--workdir", ADDRESS]
    result = command.finish(start(bucket, tmp_path / "host", *arguments))
    assert result.returncode == 2, result.stderr
    assert result.stderr.count("\n") == 1
    assert f"{ADDRESS} cannot be read: see that your account has access" in result.stderr


def test_without_gcsfs_it_says_what_to_install(tmp_path):
    code = (
        "import sys; sys.modules['gcsfs'] = None\n"
        "import importlib.util; importlib.util.find_spec = lambda name: None\n"
        "from symskip_jax import cli\n"
        f"sys.exit(cli.main(['pretrain', '--config', 'digits', '--workdir', {ADDRESS!r}]))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 2
    assert "-e '.[gcs]'" in result.stderr
