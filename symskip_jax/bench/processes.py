"""The parent's side of a worker."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class WorkerError(Exception):
    """A worker could not do what it was asked to; one line says why."""


class Worker:
    """A contender in a process of its own, which waits while others work."""

    def __init__(self, name: str, folder: Path, platform: str | None = None) -> None:
        """Starts the process and waits until it is ready.

        Args:
            name: of the contender; see `symskip_jax.bench.worker`.
            folder: of the problem.
            platform: where it must run: cpu or gpu; None for where it would.

        Raises:
            WorkerError: it cannot start, as something is not installed.
        """
        self.name = name
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  (`close` closes it)
        command = [sys.executable, "-m", "symskip_jax.bench.worker", name, str(folder)]
        if platform is not None:
            command.append(f"--platform={platform}")
        # Several processes share the device, and memory that is only kept would count as used.
        environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        began = time.perf_counter()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
            text=True,
        )
        try:
            self.facts = self._answer()
        except BaseException:
            self.close()
            raise
        del self.facts["seconds"]
        self.start_s = time.perf_counter() - began

    def ask(self, do: str, **order: Any) -> dict[str, Any]:
        """Has something done and returns the answer: its `seconds` and whatever else.

        Raises:
            WorkerError: it failed.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the answer will be missing, and tell
            self._process.stdin.write(json.dumps({"do": do, **order}) + "\n")
            self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """Ends the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, KeyboardInterrupt):
            self._process.kill()
        self.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            raise WorkerError(f"it died with status {status}: {self._last_words()}")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def _last_words(self) -> str:
        self._log.seek(0)
        return (self._log.read().strip() or "nothing was said").splitlines()[-1]


@contextlib.contextmanager
def saved(problem: Any) -> Iterator[Path]:
    """Gives a folder with the problem, which is removed in the end."""
    with tempfile.TemporaryDirectory(prefix="symskip_bench_") as folder:
        problem.save(Path(folder))
        yield Path(folder)
