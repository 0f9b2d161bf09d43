"""Starts the command as several processes of one run on this machine."""

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import command


def free_address() -> str:
    """Returns an address of this machine with a port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


@contextlib.contextmanager
def started(
    arguments: Sequence[Any],
    *,
    processes: int = 2,
    devices: int = 1,
    start: Callable[..., subprocess.Popen[str]] | None = None,
) -> Iterator[list[subprocess.Popen[str]]]:
    """Starts them all.

    Args:
        arguments: of each process, that of the command.
        processes: of the run.
        devices: simulated, of each.
        start: what starts process `number` with these words, for another command or another host:
            `start(number, *words)`.
    """

    def start_alike(number: int, *words: Any) -> subprocess.Popen[str]:
        return command.start(*words, environment={"JAX_NUM_CPU_DEVICES": str(devices)})

    together = ("--coordinator", free_address(), "--num-processes", processes, "--process-id")
    here = [
        (start or start_alike)(number, *arguments, *together, number) for number in range(processes)
    ]
    with killed_at_the_end(here):
        yield here


@contextlib.contextmanager
def killed_at_the_end(
    processes: Sequence[subprocess.Popen[str]],
) -> Iterator[Sequence[subprocess.Popen[str]]]:
    """Kills what is still alive then: one that failed would leave the others waiting for it."""
    try:
        yield processes
    finally:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def finish(processes: Sequence[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    """Waits for all, and returns the status of each and what it said, but for gloo's chatter."""
    ended = []
    for process in processes:
        result = command.finish(process)
        lines = [line for line in result.stderr.splitlines() if "[Gloo]" not in line]
        ended.append((result.returncode, "\n".join(lines)))
    return ended


def succeed(arguments: Sequence[Any], *, processes: int = 2, devices: int = 1) -> None:
    """Runs them to their ends, which must be good ones."""
    with started(arguments, processes=processes, devices=devices) as here:
        for status, said in finish(here):
            assert status == 0, said
