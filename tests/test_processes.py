"""One run of several processes: it computes what one would, and stops, dies and goes on as one."""

import contextlib
import os
import shutil
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import command
import numpy as np
import orbax.checkpoint as ocp
import pytest
import several
from jax._src.clusters import cloud_tpu_cluster
from test_resume import (
    BY_THE_CLOCK,
    Moments,
    assert_same_run,
    count_records,
    saved_steps,
    timeless_metrics,
    wait_for,
)

from symskip_jax import cli
from symskip_jax.errors import LostProcessError, UserError
from symskip_jax.training.checkpoints import load_variables
from symskip_jax.training.processes import find_cluster
from symskip_jax.training.records import read_metrics
from symskip_jax.training.roll_call import call_roll
from symskip_jax.training.watching import read_status

# Sums in another order, 36 steps of Adam on.
ROUNDING = {"rtol": 2e-4, "atol": 2e-5}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    return command.write_images(tmp_path_factory.mktemp("data") / "images.npz")


@pytest.fixture(scope="module")
def alone(tmp_path_factory, data) -> Path:
    """Of one process with one device."""
    workdir = tmp_path_factory.mktemp("runs") / "alone"
    command.succeed(*command.pretrain(workdir, data))
    return workdir


@pytest.fixture(scope="module")
def two(tmp_path_factory, data) -> Path:
    """Of two processes with a device each, undisturbed."""
    workdir = tmp_path_factory.mktemp("runs") / "two"
    several.succeed(command.pretrain(workdir, data))
    return workdir


def assert_equal_to_rounding(workdir: Path, expected: Path) -> None:
    """Losses and measures of all steps, then parameters, statistics and moments of gradients."""
    ours, theirs = timeless_metrics(workdir), timeless_metrics(expected)
    assert [it.keys() for it in ours] == [it.keys() for it in theirs]
    for record, reference in zip(ours, theirs, strict=True):
        for name in record.keys() - {"split"}:
            np.testing.assert_allclose(record[name], reference[name], err_msg=name, **ROUNDING)
    arrays, reference = (
        ocp.tree.to_flat_dict(load_variables(it).state, sep=".") for it in (workdir, expected)
    )
    assert arrays.keys() == reference.keys()
    for name, array in arrays.items():
        if array.dtype.kind == "f":
            np.testing.assert_allclose(array, reference[name], err_msg=name, **ROUNDING)
        else:
            np.testing.assert_array_equal(array, reference[name], err_msg=name)


def in_this_process(arguments) -> None:
    """On the eight devices that tests have."""
    assert cli.main([*map(str, arguments)]) == 0


def test_two_by_four_one_by_eight_and_one_pretrain_alike(tmp_path, data, alone):
    in_this_process(command.pretrain(tmp_path / "eight", data))
    several.succeed(command.pretrain(tmp_path / "two_by_four", data), devices=4)
    assert_equal_to_rounding(tmp_path / "eight", alone)
    assert_equal_to_rounding(tmp_path / "two_by_four", alone)
    # One process wrote the log, and every record once.
    steps = [(it["step"], it["split"]) for it in read_metrics(tmp_path / "two_by_four")]
    assert steps == [(it["step"], it["split"]) for it in read_metrics(alone)]
    assert {*BY_THE_CLOCK} <= {*read_metrics(tmp_path / "two_by_four")[0]}


def test_two_by_four_one_by_eight_and_one_finetune_alike(tmp_path, data, alone):
    more = f"--init={alone}"
    command.succeed(*command.finetune(tmp_path / "one", data, more))
    in_this_process(command.finetune(tmp_path / "eight", data, more))
    several.succeed(command.finetune(tmp_path / "two_by_four", data, more), devices=4)
    assert_equal_to_rounding(tmp_path / "eight", tmp_path / "one")
    assert_equal_to_rounding(tmp_path / "two_by_four", tmp_path / "one")


def test_what_is_lost_or_stopped_goes_on_as_if_nothing_had_happened(tmp_path, data, two):
    arguments = command.pretrain(tmp_path, data)

    def after(records: int) -> Callable[[], bool]:
        return lambda: count_records(tmp_path) > records

    # SIGTERM to the second while the first step is compiled: all save what that step made.
    with several.started(arguments) as here:
        wait_for(lambda: bool(read_status(tmp_path)), here[0])
        here[1].terminate()
        ended = several.finish(here)
    first = max(saved_steps(tmp_path))
    for status, said in ended:
        assert status == cli.EXIT_STOPPED == 75, said
        assert f"after step {first} of 36, and saved; the same command goes on" in said
    # SIGKILL of the second: the first leaves by itself and says why.
    with several.started(arguments) as here:
        wait_for(after(count_records(tmp_path)), here[0])
        os.killpg(here[1].pid, signal.SIGKILL)
        (status, said), _ = several.finish(here)
    # Where it met the other in a save, JAX waits for a minute, and then ends it by itself.
    assert status in (cli.EXIT_LOST, -signal.SIGABRT), said
    if status == cli.EXIT_LOST:
        gone = "another process of the run is gone; the last checkpoint is whole"
        assert gone in said and "Traceback" not in said
        found = read_status(tmp_path)
        assert found["state"] == "failed" and found["message"].startswith(gone)
    # SIGKILL of the first, which is the one that all others talk to.
    with several.started(arguments) as here:
        wait_for(after(count_records(tmp_path)), here[0])
        os.killpg(here[0].pid, signal.SIGKILL)
        _, (status, said) = several.finish(here)
    assert status in (cli.EXIT_LOST, -signal.SIGABRT), said
    several.succeed(arguments)
    assert_same_run(tmp_path, two)


def misbehaving(number: int, how: str, activity: str, count: int):
    """Says how to start two, of which one is stopped, or crashes, in an activity."""

    def start(this, *words):
        if this == number:
            return command.start_script("misbehaving.py", how, activity, count, *words)
        return command.start(*words)

    return start


def assert_stopped_and_saved(workdir, here):
    ended = several.finish(here)
    step = max(saved_steps(workdir))
    for status, said in ended:
        assert status == cli.EXIT_STOPPED, said
        assert f"after step {step} of 36, and saved; the same command goes on" in said


def test_one_is_stopped_in_an_evaluation_or_a_save_and_one_crashes(tmp_path, data, two):
    arguments = command.pretrain(tmp_path, data)
    with several.started(arguments, start=misbehaving(1, "stop", "evaluation", 2)) as here:
        assert_stopped_and_saved(tmp_path, here)
    moments = Moments(tmp_path)
    with several.started(arguments) as here:
        wait_for(moments.in_a_save, here[0])
        here[1].terminate()
        assert_stopped_and_saved(tmp_path, here)
    with several.started(arguments, start=misbehaving(1, "crash", "training", 2)) as here:
        (left, told), (crashed, said) = several.finish(here)
    assert crashed == cli.EXIT_CRASHED == 70 and "RuntimeError: on purpose" in said
    assert left in (cli.EXIT_LOST, -signal.SIGABRT), told
    several.succeed(arguments)
    assert_same_run(tmp_path, two)


def test_saved_by_two_by_four_restored_by_others(tmp_path, data, alone):
    source = tmp_path / "saved"
    with several.started(command.pretrain(source, data), devices=4) as here:
        wait_for(lambda: len(saved_steps(source)) > 1, here[0])
        here[0].terminate()
        assert [status for status, _ in several.finish(here)] == [cli.EXIT_STOPPED] * 2
    assert max(saved_steps(source)) < 36
    for name in ("one", "eight", "two_by_two"):
        shutil.copytree(source, tmp_path / name)
    command.succeed(*command.pretrain(tmp_path / "one", data))
    in_this_process(command.pretrain(tmp_path / "eight", data))
    several.succeed(command.pretrain(tmp_path / "two_by_two", data), devices=2)
    for name in ("one", "eight", "two_by_two"):
        assert_equal_to_rounding(tmp_path / name, alone)


def test_processes_that_do_not_fit_are_refused_by_all(tmp_path, data):
    arguments = command.pretrain(tmp_path / "run", data)
    address = several.free_address()
    together = ("--coordinator", address, "--num-processes", 2, "--process-id")
    here = [
        command.start(*arguments, *together, 0),
        command.start(*arguments, "--config.seed=1", *together, 1),
    ]
    for status, said in several.finish(here):
        assert status == cli.EXIT_WRONG_INPUT, said
        assert said.splitlines()[-1].endswith(
            "config.seed of process 1 differ from those of process 0: start all alike"
        )


def test_a_folder_that_not_all_see_is_refused_by_all(tmp_path, data):
    address = several.free_address()
    together = ("--coordinator", address, "--num-processes", 2, "--process-id")
    here = [
        command.start(*command.pretrain(tmp_path / str(number), data), *together, number)
        for number in (0, 1)
    ]
    for status, said in several.finish(here):
        assert status == cli.EXIT_WRONG_INPUT, said
        assert "is not the folder that process 0 sees: give one that all hosts share" in said


def test_a_coordinator_that_never_comes_up(tmp_path, data):
    address = several.free_address()
    result = command.run(
        *command.pretrain(tmp_path / "run", data),
        *("--coordinator", address, "--num-processes", 3, "--process-id", 1),
        "--start-timeout=1",
    )
    assert result.returncode == cli.EXIT_LOST
    assert result.stderr.count("\n") == 1
    assert address in result.stderr and "process 0" in result.stderr


def roll(of: int, numbers: list[int], *, timeout: float = 5.0, versions=()) -> dict[int, str]:
    """Calls the roll in threads, and returns what each was answered."""
    address, answers = several.free_address(), {}

    def call(place: int, number: int) -> None:
        version = versions[place] if versions else "1"
        try:
            call_roll(address, of, number, timeout=timeout, version=version)
            answers[place] = "go"
        except (UserError, LostProcessError) as error:
            answers[place] = f"{type(error).__name__}: {error}"

    threads = [threading.Thread(target=call, args=it) for it in enumerate(numbers)]
    for it in threads:
        it.start()
    for it in threads:
        it.join()
    return answers


def test_all_go_when_all_are_there():
    assert roll(3, [2, 0, 1]) == {0: "go", 1: "go", 2: "go"}


def test_who_is_missing_is_named_to_all():
    answers = roll(4, [0, 2], timeout=1.0)
    for answer in answers.values():
        assert answer.startswith("LostProcessError: processes 1, 3 of 4 did not come within 1 s")


def test_two_of_one_number_and_two_versions_are_refused():
    for answers, words in (
        (roll(3, [0, 1, 1]), "1"),
        (roll(2, [0, 1], versions=("1", "2")), "2"),
    ):
        assert all(it.startswith("UserError") for it in answers.values()), answers
        assert all(words in it for it in answers.values())


def test_a_process_that_died_while_it_waited_may_come_again():
    address, started = several.free_address(), threading.Event()

    def first() -> None:
        started.set()
        call_roll(address, 3, 0, timeout=10.0, version="1")

    threads = [threading.Thread(target=first)]
    threads[0].start()
    started.wait()
    host, port = address.split(":")
    while True:
        with contextlib.suppress(ConnectionRefusedError):
            died = socket.create_connection((host, int(port)))
            break
    with died:
        died.sendall(b'{"process": 1, "of": 3, "version": "1"}\n')
    for number in (1, 2):
        threads.append(
            threading.Thread(
                target=call_roll, args=(address, 3, number), kwargs={"timeout": 10, "version": "1"}
            )
        )
        threads[-1].start()
    for it in threads:
        it.join()  # an exception in one is an error of the test
    assert not any(it.is_alive() for it in threads)


def test_a_host_whose_name_comes_late_is_found(monkeypatch):
    address, tries, never = several.free_address(), [], []
    known = socket.getaddrinfo

    def getaddrinfo(host, *arguments, **options):
        if host != "late":
            return known(host, *arguments, **options)
        tries.append(host)
        if len(tries) < 3 or never:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return known("127.0.0.1", *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    port = int(address.rpartition(":")[2])
    first = threading.Thread(
        target=call_roll, args=(address, 2, 0), kwargs={"timeout": 10, "version": "1"}
    )
    first.start()
    call_roll(f"late:{port}", 2, 1, timeout=10, version="1")
    first.join()
    # One that never comes is one that is lost, and may come with the next start.
    never.append("late")
    with pytest.raises(LostProcessError, match=f"not found at late:{port} within 0.3 s"):
        call_roll(f"late:{port}", 2, 1, timeout=0.3, version="1")


@pytest.mark.parametrize(
    ("given", "environment", "words"),
    [
        (("h:1", None, None), {}, "--num-processes, --process-id must be given too"),
        (("h", 2, 0), {}, "must be HOST:PORT"),
        (("h:1", 2, 2), {}, "--process-id 2 must be 0 to"),
        ((None, None, None), {"JAX_COORDINATOR_ADDRESS": "h:1"}, "must be given too"),
        (("h:1", None, 0), {"JAX_NUM_PROCESSES": "two"}, "JAX_NUM_PROCESSES=two must be a whole"),
    ],
)
def test_half_of_an_address_is_refused(given, environment, words):
    with pytest.raises(UserError, match=words):
        find_cluster(*given, "none", environment)


def test_the_processes_are_found_where_they_are_told():
    told = find_cluster("h:1", 4, 3, "auto", {})
    assert told is not None
    assert (told.coordinator, told.num_processes, told.process_id) == ("h:1", 4, 3)
    variables = {
        "JAX_COORDINATOR_ADDRESS": "h:1",
        "JAX_NUM_PROCESSES": "4",
        "JAX_PROCESS_ID": "3",
    }
    assert find_cluster(None, None, None, "auto", variables) == told
    assert find_cluster("h:1", 1, 0, "auto", {}) is None
    assert find_cluster(None, None, None, "none", {}) is None


def test_slurm_is_found(monkeypatch):
    variables = {
        "SLURM_JOB_ID": "65000",
        "SLURM_STEP_NODELIST": "node[07-09]",
        "SLURM_NTASKS": "6",
        "SLURM_PROCID": "4",
        "SLURM_LOCALID": "1",
        "SLURM_STEP_NUM_NODES": "3",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = find_cluster(None, None, None, "slurm", {})
    assert found is not None
    assert found.coordinator.startswith("node07:")
    assert (found.num_processes, found.process_id, found.local_device_ids) == (6, 4, (1,))


@pytest.fixture
def on_a_slice(monkeypatch):
    """The second of four machines of a slice, as Kubernetes says."""
    monkeypatch.setattr(cloud_tpu_cluster, "running_in_cloud_tpu_vm", True)
    monkeypatch.setenv("TPU_SKIP_MDS_QUERY", "1")
    monkeypatch.setenv("TPU_WORKER_HOSTNAMES", "localhost,host-1,host-2,host-3")
    monkeypatch.setenv("TPU_WORKER_ID", "1")
    monkeypatch.setenv("MEGASCALE_COORDINATOR_ADDRESS", "")
    monkeypatch.setenv("MEGASCALE_NUM_SLICES", "1")
    monkeypatch.setenv("MEGASCALE_SLICE_ID", "0")


def test_a_slice_is_found(on_a_slice):
    found = find_cluster(None, None, None, "auto", {})
    assert found is not None
    assert found.coordinator.startswith("localhost:")
    assert (found.num_processes, found.process_id, found.found) == (4, 1, "a TPU slice")


def test_a_slice_whose_first_host_has_no_name_yet_is_waited_for(
    on_a_slice, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("TPU_WORKER_HOSTNAMES", "no-such-host.invalid,localhost")
    asked = []

    def wait(address: str, seconds: int) -> None:
        asked.append((address, seconds))
        raise RuntimeError(f"Failed to recognize coordinator address {address}")

    monkeypatch.setattr(cloud_tpu_cluster.BaseTpuCluster, "wait_for_coordinator", wait)
    words = ["pretrain", "--config", "digits", "--workdir", str(tmp_path), "--start-timeout=7"]
    assert cli.main(words) == cli.EXIT_LOST == 76
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "within 7 s" in said and "no-such-host.invalid" in said
    assert asked == [("no-such-host.invalid", 7)]


def test_one_host_of_a_slice_says_so_instead_of_waiting(on_a_slice, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    assert cli.main(["evaluate", "--workdir", str(tmp_path)]) == cli.EXIT_WRONG_INPUT
    said = capsys.readouterr().err
    assert "this is host 1 of the 4 of a TPU slice" in said and said.count("\n") == 1
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert cli.main(["evaluate", "--workdir", str(tmp_path)]) == cli.EXIT_WRONG_INPUT
    assert "no checkpoint in" in capsys.readouterr().err
