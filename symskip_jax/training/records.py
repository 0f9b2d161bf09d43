"""The measurements of a run on disk: metrics.jsonl, and the same for TensorBoard."""

import errno
import json
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tensorboardX.event_file_writer import EventsWriter

log = logging.getLogger(__name__)


class Records:
    """Appends records to metrics.jsonl; those that a full disk refuses wait for the next one."""

    def __init__(self, path: Path, last_step: int, *, evaluated: bool = True) -> None:
        """Opens the file and drops what a killed run wrote after what it resumes from."""
        _truncate(path, last_step, evaluated=evaluated)
        self._path = path
        self._file = path.open("ab", buffering=0)
        self._size = path.stat().st_size
        self._waiting = b""

    def write(self, record: dict[str, Any]) -> None:
        """Appends a record."""
        self._waiting += json.dumps(record).encode() + b"\n"
        try:
            if self._file.write(self._waiting) != len(self._waiting):
                self._file.truncate(self._size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            log.warning("%s cannot be written (%s); kept for later", self._path, error.strerror)
            return
        self._size += len(self._waiting)
        self._waiting = b""

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class TensorBoard:
    """Scalars of records for TensorBoard, up to the first that cannot be written."""

    def __init__(self, folder: Path, start_step: int) -> None:
        """Describes the file; TensorBoard shows nothing from after the step of before."""
        self._folder, self._start_step = folder, start_step
        self._events: EventsWriter | None = None
        self._failed = False

    def write(self, record: dict[str, Any]) -> None:
        """Writes all numbers of a record but its place."""
        # tensorboardX imports torch where there is one, which takes seconds: not before it must.
        from tensorboardX.proto import event_pb2
        from tensorboardX.summary import scalar

        if self._failed:
            return
        try:
            events = self._events = self._events or self._open()
            for name, value in record.items():
                if name not in ("step", "epoch", "split"):
                    summary = scalar(f"{record['split']}/{name}", value)
                    event = event_pb2.Event(summary=summary, step=record["step"])
                    event.wall_time = time.time()
                    events.write_event(event)
            events.flush()
        except OSError as error:
            self._fail(error)

    def close(self) -> None:
        """Closes the file."""
        if self._events is not None and not self._failed:
            try:
                self._events.close()
            except OSError as error:
                self._fail(error)

    def _open(self) -> "EventsWriter":
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto import event_pb2

        self._folder.mkdir(parents=True, exist_ok=True)
        events = EventsWriter(str(self._folder / "events"))
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        event = event_pb2.Event(session_log=start, step=self._start_step + 1)
        event.wall_time = time.time()
        events.write_event(event)
        return events

    def _fail(self, error: OSError) -> None:
        self._failed = True
        log.warning(
            "%s cannot be written (%s): nothing more for TensorBoard from this start of the run",
            self._folder,
            error.strerror,
        )


def read_metrics(workdir: Path) -> list[dict[str, Any]]:
    """Returns the records of a run.

    Each has `step`, `epoch`, `split` ("train" or "test") and what was measured; what ends in
    `seconds` and `per_second` alone depends on the clock. What a kill cut short is left out.
    """
    return _read(workdir / "metrics.jsonl")


def _read(path: Path) -> list[dict[str, Any]]:
    records = []
    for line in path.read_text().splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:  # the line that a kill cut short
            break
    return records


def _truncate(path: Path, last_step: int, *, evaluated: bool) -> None:
    if not path.exists():
        return
    kept = [
        json.dumps(record) + "\n"
        for record in _read(path)
        if record["step"] < last_step
        or (record["step"] == last_step and (evaluated or record["split"] == "train"))
    ]
    partial = path.with_name(path.name + ".partial")
    partial.write_text("".join(kept))
    os.replace(partial, path)
