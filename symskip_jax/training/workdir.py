"""The folder of a run, and whose run it holds."""

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from symskip_jax.data.gcs import is_bucket
from symskip_jax.errors import UserError
from symskip_jax.training.processes import is_first, several, told_by_each, told_by_first

# Seconds that a shared file system has to show a new file to all hosts.
_SETTLING = 10.0
# Seconds to wait for a lock: `symskip status` takes it for a moment, and that of a host that died
# may last a while on a shared file system.
_PATIENCE, _PATIENCE_ELSEWHERE = 3.0, 20.0

# May change between two starts of one run: where the data lies and whether it is streamed (what is
# read, and how, is checked apart), how fast and how stubbornly it is read, what is done about
# images that are broken, which a run that met one is to go on without, where the state lies, how
# often it is saved, how the run is watched, and by how many devices batches are cut (into what is
# another matter).
_MAY_DIFFER = {
    *(
        f"config.data.{name}"
        for name in ("data_dir", "input", "threads", "workers", "read_retries", "bad_image")
    ),
    "config.run.checkpoint_every",
    "config.run.keep_checkpoints",
    "config.run.replicas",
    "config.run.shard_optimizer",
    "config.run.monitor_images",
    "config.run.profile_steps",
    "config.run.stall_seconds",
    "config.pretrain.per_device_batch_size",
    "config.finetune.per_device_batch_size",
    "config.model.batch_norm_devices",
}


def check_same(identity: dict[str, Any]) -> None:
    """Checks that all processes are of one run; for all.

    Raises:
        UserError: one was started with another configuration, or sees other data.
    """
    facts = json.dumps({key: _digest(value) for key, value in identity.items()})
    first, *others = map(json.loads, told_by_each(facts))
    for number, other in enumerate(others, start=1):
        differing = sorted(key for key in {*first, *other} if first.get(key) != other.get(key))
        if differing:
            raise UserError(
                f"{', '.join(differing)} of process {number} differ from those of process 0: "
                "start all alike"
            )


def check_shared(workdir: Path) -> None:
    """Checks that all processes see the same folder; for all. It is made if missing.

    Args:
        workdir: a folder, or an address on Cloud Storage, which needs no more than to be one.

    Raises:
        UserError: it cannot be written, or is another one on another host.
    """
    if not several():
        return
    if is_bucket(workdir):
        told = told_by_each(str(workdir))
        if len({*told}) > 1:
            raise UserError(f"--workdir is not the same for all processes: {', '.join(told)}")
        return
    mark = workdir / f".seen-by-all-{secrets.token_hex(8)}"
    problem = ""
    try:
        if is_first():
            make_workdir(workdir)
            mark.touch()
    except UserError as error:
        problem = str(error)
    problem, name = json.loads(told_by_first(json.dumps([problem, mark.name])))
    try:
        if problem:
            raise UserError(problem)
        deadline = time.monotonic() + _SETTLING
        while not (workdir / name).exists():
            if time.monotonic() > deadline:
                raise UserError(
                    f"--workdir {workdir} on {socket.gethostname()} is not the folder that process "
                    "0 sees: give one that all hosts share, or gs://"
                )
            time.sleep(0.1)
    finally:
        told_by_each("")  # all have looked
        if is_first():
            mark.unlink(missing_ok=True)


def claim_workdir(
    workdir: Path,
    identity: dict[str, Any],
    unsaid: Mapping[str, Any],
    prepare: Callable[[], None] = lambda: None,
) -> contextlib.ExitStack:
    """Makes a folder the run's own, or finds that it is already; for one process of the run.

    Args:
        workdir: made if missing.
        identity: flat, as JSON gives it back: everything that decides what the run computes.
        unsaid: what holds for a run in the folder that does not say.
        prepare: called when the folder is this run's alone, before it is looked at.

    Returns:
        What keeps others out until it is closed, or the process ends in whatever way.

    Raises:
        UserError: the folder cannot be written, holds another run, whose differing keys are named,
            or one that is going on.
    """
    make_workdir(workdir)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_locked(workdir))
        prepare()
        _check_identity(workdir, identity, unsaid)
        return stack.pop_all()


@contextlib.contextmanager
def _locked(workdir: Path) -> Iterator[None]:
    path = workdir / "lock"
    with path.open("a+") as file:
        began = time.monotonic()
        try:
            while (holder := _holder_after_a_try(file)) is not None:
                here = not holder or holder.endswith(f" on {socket.gethostname()}")
                if time.monotonic() - began > (_PATIENCE if here else _PATIENCE_ELSEWHERE):
                    raise UserError(
                        f"--workdir {workdir} has a run that is going on ({holder or 'unknown'}): "
                        "wait for it, stop it, or choose another"
                    )
                time.sleep(0.1)
        except OSError:  # a file system without locks
            yield
            return
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield


def _holder_after_a_try(file: TextIO) -> str | None:
    """Locks a file, or returns who last wrote that it did."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        return file.read().strip()
    return None


def _check_identity(workdir: Path, identity: dict[str, Any], unsaid: Mapping[str, Any]) -> None:
    path = workdir / "config.json"
    if not path.exists():
        write_json(path, identity)
        return
    try:
        existing = {key: unsaid[key] for key in identity if key in unsaid}
        existing |= json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read ({error}); choose another --workdir or delete this one"
        ) from error
    differing = [
        f"{key} ({existing.get(key)!r} there, {identity.get(key)!r} here)"
        for key in sorted({*existing, *identity} - _MAY_DIFFER)
        if existing.get(key) != identity.get(key)
    ]
    if differing:
        raise UserError(
            f"--workdir {workdir} holds another run: {', '.join(differing)}; "
            "choose another --workdir or delete this one"
        )


def make_workdir(workdir: Path, option: str = "--workdir") -> None:
    """Makes a folder, and sees whether it can be written.

    Args:
        workdir: the folder.
        option: that it was given by, for the message.

    Raises:
        UserError: it cannot.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=workdir):
            pass
    except OSError as error:
        raise UserError(
            f"{option} {workdir} cannot be written ({error.strerror}); choose another"
        ) from error


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:6]


def write_json(path: Path, value: Any) -> None:
    """Writes JSON in one stroke: a reader sees the old file or the new one."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(value, indent=1) + "\n")
    os.replace(partial, path)
