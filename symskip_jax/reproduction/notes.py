"""The note of how a run was made, `run.json`: its command, what it started from, every start of it.

A start is a record of `started` (UTC), `seconds`, `status` (of the command, when it ended) and
`machine`. It is written before the command runs, so that whoever is killed loses nothing. Notes of
old have `seconds` and `machine` of all starts together instead.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from symskip_jax.training.workdir import write_json

NOTE = "run.json"
# Of a command that was asked to stop: the same command goes on.
_STOPPED = (75, 130, 143, -2, -15)
# What a command writes as it goes, the folder aside.
_GROWING = ("log.txt", "metrics.jsonl", "probe.json")


def read_note(folder: Path) -> dict[str, Any]:
    """Returns how a run was made; empty where there is no note."""
    try:
        return json.loads((folder / NOTE).read_text())
    except (OSError, ValueError):
        return {}


def was_stopped(status: int) -> bool:
    """Whether a command ended because it was asked to."""
    return status in _STOPPED


def begin(workdir: Path, machine: Mapping[str, Any], **facts: Any) -> None:
    """Notes in a working folder that its command starts.

    Args:
        workdir: of the run, and of no other recipe's: its earlier starts count.
        machine: that it starts on.
        facts: of the run, as JSON holds them.
    """
    starts = [_ended(it, workdir) for it in _starts(read_note(workdir))]
    now = datetime.now(UTC).isoformat(timespec="seconds")
    starts.append({"started": now, "seconds": None, "status": None, "machine": dict(machine)})
    write_json(workdir / NOTE, {"done": False, **facts, "starts": starts})


def end(workdir: Path, seconds: float, status: int) -> None:
    """Notes in a working folder how the command that was started last has ended."""
    note = read_note(workdir)
    note["starts"][-1] |= {"seconds": round(seconds, 1), "status": status}
    write_json(workdir / NOTE, {**note, "done": status == 0})


def seconds_of(note: Mapping[str, Any]) -> float:
    """Returns how long a run took, over all its starts; what failed does not count."""
    return sum(it["seconds"] or 0.0 for it in _counted(note))


def machines_of(note: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the machine of each start that counts."""
    return [it["machine"] for it in _counted(note) if it.get("machine")]


def _counted(note: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Returns the starts that the run is made of: of those cut off the next one went on from."""
    return [it for it in _starts(note) if it["status"] in (0, None, *_STOPPED)]


def _starts(note: Mapping[str, Any]) -> list[dict[str, Any]]:
    if "starts" in note or "seconds" not in note:
        return note.get("starts", [])
    kept = {"seconds": note["seconds"], "machine": note.get("machine")}
    return [{"started": None, "status": None, **kept}]


def _ended(start: dict[str, Any], workdir: Path) -> dict[str, Any]:
    """Returns a start, lasting until its command last wrote something if no one saw it end."""
    if start["seconds"] is not None:
        return start
    began = datetime.fromisoformat(start["started"]).timestamp()
    written = [path.stat().st_mtime for it in _GROWING if (path := workdir / it).exists()]
    return start | {"seconds": round(max([0.0, *(it - began for it in written)]), 1)}
