"""The processes of one run: who they are, how they start together, agree and leave together.

JAX's multi-controller runtime does the work. Every process runs the same program in the same order;
what is said here to be for all must be called by all.
"""

import contextlib
import dataclasses
import logging
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils

from symskip_jax import __version__
from symskip_jax.errors import LostProcessError, UserError
from symskip_jax.training.roll_call import call_roll

log = logging.getLogger(__name__)

ClusterKind = Literal["auto", "tpu", "slurm", "none"]

# What JAX calls the hosts of TPUs.
_TPUS = ("gcetpu", "gketpu")

# Seconds without a sign of life after which a process counts as lost.
HEARTBEAT = 60
# Seconds that a process waits at its end for the others, which are at theirs.
SHUTDOWN = 20
# Seconds that one that crashed waits, so that others with the same fault say so too and not that it
# is gone.
_CRASH = 3
# Messages that processes tell each other are of a multiple of so many bytes.
_CHUNK = 1024

# What JAX and the libraries below it say when another process is gone.
_LOST = re.compile(
    r"gloo|nccl|connection (closed|reset|refused)|coordination|heartbeat|socket closed"
    r"|another task|broken pipe|peer",
    re.IGNORECASE,
)


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The processes of a run, and which of them this is.

    Attributes:
        coordinator: HOST:PORT of process 0, by which all find each other.
        num_processes: of the run.
        process_id: of this one, from 0.
        local_device_ids: the devices of this host that are this process's; None for all.
        found: how this was known, for messages.
    """

    coordinator: str
    num_processes: int
    process_id: int
    local_device_ids: tuple[int, ...] | None = None
    found: str = "told"


def find_cluster(
    coordinator: str | None,
    num_processes: int | None,
    process_id: int | None,
    kind: ClusterKind,
    environment: Mapping[str, str] = os.environ,
    *,
    timeout: float = 300.0,
) -> Cluster | None:
    """Returns the processes of this run; None where it is the only one.

    What is given counts first, then JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID,
    then what JAX knows of a TPU slice or of Slurm.

    Args:
        coordinator: HOST:PORT, or None.
        num_processes: of the run, or None.
        process_id: of this one, or None.
        kind: where to look, if nothing is given: `auto` for both, `none` for nowhere.
        environment: variables of this process.
        timeout: seconds to wait until the name of process 0's host is known.

    Raises:
        UserError: what is given is not whole, or makes no sense.
        LostProcessError: that name is not known in time.
    """
    given: dict[str, Any] = {
        "--coordinator": coordinator or environment.get("JAX_COORDINATOR_ADDRESS"),
        "--num-processes": _number(num_processes, environment, "JAX_NUM_PROCESSES"),
        "--process-id": _number(process_id, environment, "JAX_PROCESS_ID"),
    }
    missing = [name for name, value in given.items() if value is None]
    if len(missing) == len(given):
        return None if kind == "none" else _detected(kind, timeout)
    if missing:
        raise UserError(f"{', '.join(missing)} must be given too: all three or none")
    address, count, number = given.values()
    if not re.fullmatch(r".+:\d{1,5}", address) or not 0 < int(address.rpartition(":")[2]) < 65536:
        raise UserError(f"--coordinator {address} must be HOST:PORT, as 10.0.0.1:7777")
    if count < 1 or not 0 <= number < count:
        raise UserError(f"--process-id {number} must be 0 to --num-processes less 1, {count - 1}")
    return Cluster(address, count, number) if count > 1 else None


def _number(given: int | None, environment: Mapping[str, str], name: str) -> int | None:
    if given is not None or not environment.get(name):
        return given
    try:
        return int(environment[name])
    except ValueError as error:
        raise UserError(f"{name}={environment[name]} must be a whole number") from error


def _detected(kind: ClusterKind, timeout: float) -> Cluster | None:
    """Asks JAX, which knows Slurm's variables and a TPU host's metadata."""
    # Its only way in that does not start the runtime at once.
    from jax._src.clusters import ClusterEnv

    names = {"slurm": ("slurm",), "tpu": _TPUS}.get(kind, ("slurm", *_TPUS))
    for cluster in ClusterEnv._cluster_types:
        if cluster.name in names and cluster.is_env_present():
            count = cluster.get_process_count()
            if count == 1:
                return None
            found = "Slurm" if cluster.name == "slurm" else "a TPU slice"
            port = os.environ.get("JAX_COORDINATOR_PORT")
            try:
                address = cluster.get_coordinator_address(max(1, round(timeout)), port)
            except RuntimeError as error:
                raise LostProcessError(
                    f"process 0 of {count} of {found} was not found within {timeout:g} s "
                    f"({' '.join(str(error).split())[:200]}): start the same command there too, "
                    "or wait longer with --start-timeout"
                ) from error
            local = cluster.get_local_process_id() if cluster.name == "slurm" else None
            return Cluster(
                address,
                count,
                cluster.get_process_id(),
                None if local is None else (local,),
                found,
            )
    if kind != "auto":
        raise UserError(f"--cluster {kind}: this process was not started by one")
    return None


def refuse_part_of_slice(verb: str, environment: Mapping[str, str] = os.environ) -> None:
    """Refuses what runs in one process where the devices need the processes of other hosts too.

    Else it would wait for them for ever.

    Args:
        verb: of the command.
        environment: variables of this process.

    Raises:
        UserError: this is a host of a TPU slice that has several.
    """
    from jax._src.clusters import ClusterEnv

    if environment.get("JAX_PLATFORMS") == "cpu":
        return
    for cluster in ClusterEnv._cluster_types:
        if cluster.name in _TPUS and cluster.is_env_present():
            count = cluster.get_process_count()
            if count > 1:
                raise UserError(
                    f"this is host {cluster.get_process_id()} of the {count} of a TPU slice, and "
                    f"`symskip {verb}` runs in one process: run it on another machine, or on this "
                    "one's CPU with JAX_PLATFORMS=cpu"
                )


def join(cluster: Cluster, timeout: float) -> None:
    """Starts JAX's runtime with the other processes; before anything else of JAX.

    Args:
        cluster: the processes.
        timeout: seconds to wait for them.

    Raises:
        UserError: the address is wrong, or processes contradict each other.
        LostProcessError: it names who did not come.
    """
    try:
        call_roll(
            cluster.coordinator,
            cluster.num_processes,
            cluster.process_id,
            timeout=timeout,
            version=f"symskip_jax {__version__} on JAX {jax.__version__}",
        )
    except LostProcessError as error:
        if cluster.found == "told":
            raise
        raise LostProcessError(
            f"this is process {cluster.process_id} of {cluster.num_processes} of {cluster.found}: "
            f"{error}"
        ) from error
    with contextlib.suppress(AttributeError):  # a flag of JAX that may come to an end
        jax.config.update("jax_enable_preemption_service", True)
    jax.distributed.initialize(
        cluster.coordinator,
        cluster.num_processes,
        cluster.process_id,
        local_device_ids=cluster.local_device_ids,
        cluster_detection_method="deactivate",
        initialization_timeout=max(60, int(timeout)),
        heartbeat_timeout_seconds=HEARTBEAT,
        shutdown_timeout_seconds=SHUTDOWN,
    )


def is_first() -> bool:
    """Whether this process is the one that writes logs and reports."""
    return jax.process_index() == 0


def several() -> bool:
    """Whether the run has other processes."""
    return jax.process_count() > 1


def say(text: str) -> None:
    """Prints a line on the terminal, once for all processes."""
    if is_first():
        print(text, file=sys.stderr, flush=True)


def told_by_first(text: str) -> str:
    """Returns on all processes what process 0 gives; for all."""
    if not several():
        return text
    content = text.encode()
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(content))))
    return _decoded(multihost_utils.broadcast_one_to_all(_padded(content[:size], size)), size)


def told_by_each(text: str) -> list[str]:
    """Returns on all processes what each gives, by its number; for all."""
    if not several():
        return [text]
    content = text.encode()
    sizes = np.ravel(multihost_utils.process_allgather(np.int32(len(content))))
    rows = multihost_utils.process_allgather(_padded(content, int(sizes.max())))
    return [_decoded(row, int(size)) for row, size in zip(rows, sizes, strict=True)]


@contextlib.contextmanager
def together() -> Iterator[None]:
    """What goes wrong for one process within goes wrong for all, with the message of the first.

    Raises:
        UserError: on all processes, if any raised one within; for all.
    """
    problem, own = "", None
    try:
        yield
    except UserError as error:
        problem, own = str(error) or "failed", error
    if not several():
        if own is not None:
            raise own
        return
    told = told_by_each(problem)
    for number, text in enumerate(told):
        if text:
            if own is not None and text == problem:
                raise own
            raise UserError(f"process {number}: {text}")


def as_lost_process(error: Exception) -> LostProcessError | None:
    """Returns what an error of JAX's runtime means, if it means that another process is gone."""
    if not several() or not _LOST.search(str(error)):
        return None
    reason = " ".join(str(error).split())[:200]
    return LostProcessError(
        "another process of the run is gone; the last checkpoint is whole, and the same command "
        f"on every host goes on from it ({reason})"
    )


def leave(status: int, *, agreed: bool | None) -> NoReturn:
    """Ends a process of several.

    Args:
        status: of its exit.
        agreed: whether the others end too, with the same; None if they may. Where they do, they are
            waited for; else JAX would wait in vain for those that are in the middle of a step, and
            then end this process by SIGABRT.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    if agreed:
        with contextlib.suppress(Exception):
            jax.distributed.shutdown()
    elif agreed is None:
        time.sleep(_CRASH)
    os._exit(status)


def _padded(content: bytes, size: int) -> np.ndarray:
    row = np.zeros(-(-size // _CHUNK) * _CHUNK, np.uint8)
    row[: len(content)] = np.frombuffer(content, np.uint8)
    return row


def _decoded(row: Any, size: int) -> str:
    return np.asarray(row)[:size].tobytes().decode()
