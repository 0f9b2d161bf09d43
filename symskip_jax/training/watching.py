"""Two threads beside the loop: one tells how the run is doing, one finds out what hangs."""

import faulthandler
import json
import logging
import os
import re
import resource
import socket
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import jax

from symskip_jax.errors import StoppedError
from symskip_jax.training.homes import Home
from symskip_jax.training.logs import RunLog, Silent
from symskip_jax.training.processes import as_lost_process, is_first
from symskip_jax.training.timing import Timing
from symskip_jax.training.workdir import write_json

log = logging.getLogger(__name__)

STATUS = "status.json"
STACKS = "stacks"
# Seconds between two signs of life.
PERIOD = 5.0
# A step, an evaluation or a save hangs when it takes so many times what it usually takes.
_FAR_LONGER = 10
# Seconds that a bucket gets for the last of a run; fewer than `processes.SHUTDOWN`.
_LAST_SECONDS = 60.0


class Watch:
    """Writes `status.json` of a run every few seconds, and the stacks of a process that hangs.

    Process 0 writes the status; every process writes its own stacks, to
    `stacks/process_K.txt`.
    """

    def __init__(
        self,
        home: Home,
        log: RunLog | Silent,
        timing: Timing,
        *,
        facts: Mapping[str, Any],
        stall_seconds: float,
    ) -> None:
        """Describes the watch; it begins when entered.

        Args:
            home: of the run, which is told too.
            log: of this process, whose latest records are told.
            timing: of the run.
            facts: that do not change, for the status.
            stall_seconds: that an activity must last at the least to count as hanging; the first
                of its kind, which compiles, ten times as long.
        """
        self._home, self._workdir, self._log, self._timing = home, home.folder, log, timing
        self._stall_seconds = stall_seconds
        self._done = threading.Event()
        self._end = ("running", "")
        # What is told can wait for a bucket that does not answer, which is then found out.
        self._watcher = threading.Thread(target=self._watch, name="watch", daemon=True)
        self._teller = threading.Thread(target=self._tell, name="tell", daemon=True)
        self._dumped = 0.0
        device = jax.local_devices()[0]
        self._facts = {
            **facts,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "processes": jax.process_count(),
            "devices": jax.device_count(),
            "device": device.device_kind,
            "started": _now(),
        }

    def __enter__(self) -> Self:
        self._write("running", "")
        self._watcher.start()
        self._teller.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        state = "finished" if error is None else "failed"
        lost = as_lost_process(error) if isinstance(error, Exception) else None
        told = str(lost or error or "")
        self._end = ("stopped" if isinstance(error, StoppedError) else state, told)
        self._done.set()
        self._watcher.join()
        self._teller.join(_LAST_SECONDS)
        if self._teller.is_alive():
            self._write(*self._end)
            log.warning(
                "%s has not answered for %.0f s: the last of the log may be in %s alone",
                self._home.address,
                _LAST_SECONDS,
                self._workdir,
            )

    def _watch(self) -> None:
        while not self._done.wait(min(PERIOD, self._stall_seconds / 4)):
            self._look()

    def _tell(self) -> None:
        while not self._done.wait(PERIOD):
            self._write("running", "")
            self._home.publish()
        self._write(*self._end)
        self._home.publish()

    def _look(self) -> None:
        """Dumps the stacks once for each activity that lasts far too long."""
        activity, since = self._timing.current, self._timing.since
        if activity is None or since == self._dumped:
            return
        usual = self._timing.usual(activity)
        limit = _FAR_LONGER * self._stall_seconds
        if usual is not None:
            limit = max(self._stall_seconds, _FAR_LONGER * usual)
        lasting = time.monotonic() - since
        if lasting < limit:
            return
        self._dumped = since
        before = "it is the first" if usual is None else f"usual are {usual:.3g} s"
        text = f"{activity} has lasted {lasting:.0f} s, {before}"
        path = self._workdir / STACKS / f"process_{jax.process_index()}.txt"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a") as file:
                file.write(f"{_now()} {text}\n")
                file.flush()
                faulthandler.dump_traceback(file, all_threads=True)
                file.write("\n")
            log.warning("%s: what every thread is at is in %s", text, path)
        except OSError as error:
            log.warning("%s, and %s cannot be written (%s)", text, path, error.strerror)
            faulthandler.dump_traceback(sys.__stderr__ or 2, all_threads=True)

    def _write(self, state: str, message: str) -> None:
        if not is_first():
            return
        status = {
            "state": state,
            "message": message,
            **self._facts,
            "updated": _now(),
            "seconds": round(time.monotonic() - self._timing.began, 3),
            "activity": self._timing.current,
            "activity_seconds": round(time.monotonic() - self._timing.since, 3),
            "spent": self._timing.totals(),
            "compiling": self._timing.compiling(),
            "memory": memory(),
            "latest": dict(self._log.latest),
        }
        try:
            write_json(self._workdir / STATUS, status)
        except OSError as error:  # a disk that is full must not end a run
            log.warning("%s cannot be written (%s)", self._workdir / STATUS, error.strerror)


def memory() -> dict[str, int]:
    """Returns bytes: the most that this process ever held, and those of its fullest device."""
    # Of Linux in KiB, elsewhere in bytes.
    unit = 1024 if sys.platform.startswith("linux") else 1
    found = {"host_peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
    stats = [it.memory_stats() or {} for it in jax.local_devices()]
    for name in ("bytes_in_use", "peak_bytes_in_use", "bytes_limit"):
        values = [it[name] for it in stats if name in it]
        if values:
            found[f"device_{name}"] = max(values)
    return found


def read_status(workdir: Path) -> dict[str, Any]:
    """Returns what the last start of a run said of itself; empty where it said nothing."""
    try:
        return json.loads((workdir / STATUS).read_text())
    except (OSError, ValueError):
        return {}


def call_finished(workdir: Path) -> None:
    """Corrects what is said of a run that is finished, where who finished it could not."""
    status = read_status(workdir)
    if is_first() and status and status["state"] != "finished":
        ended = {"state": "finished", "message": "", "activity": None, "updated": _now()}
        write_json(workdir / STATUS, status | ended)


def when_last_dumped(stacks: str) -> datetime:
    """Returns when the last stacks of a file in `stacks/` were written, by the text of the file."""
    times = re.findall(r"^(\d{4}-\S+) \w+ has lasted ", stacks, re.MULTILINE)
    return datetime.fromisoformat(times[-1]) if times else datetime.min.replace(tzinfo=UTC)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
