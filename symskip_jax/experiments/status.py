"""`symskip status`: what a run is doing, or what became of it."""

import fcntl
import json
import socket
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from symskip_jax.data.gcs import is_bucket
from symskip_jax.errors import UserError
from symskip_jax.training.watching import PERIOD, STACKS, STATUS, read_status, when_last_dumped

# A run that gave no sign of life for so many of its periods is taken for dead.
_SILENT = 12
# Runs that are named where a folder holds none itself.
_NAMED = 5
_GIB = 2**30


def status(workdir: Path, *, as_json: bool) -> bool:
    """Prints how a run is doing and returns whether it runs or has finished.

    Args:
        workdir: of the run; nothing in it is changed.
        as_json: print everything that is known, for programs.

    Raises:
        UserError: there is no run.
    """
    found = look_up(workdir)
    if not found:
        what = "a run that has not begun" if (workdir / "config.json").exists() else "no run"
        there = sorted(str(it.parent) for it in _below(workdir))
        runs = f"; runs: {', '.join(there[:_NAMED])}" if there else ""
        raise UserError(f"WORKDIR {workdir} holds {what}: no status.json in it{runs}")
    found["checkpoints"] = sorted(
        int(path.name) for path in (workdir / "checkpoints").glob("*") if path.name.isdecimal()
    )
    found["stacks"] = sorted(
        str(path)
        for path in (workdir / STACKS).glob("*.txt")
        if when_last_dumped(path.read_text()) >= datetime.fromisoformat(found["started"])
    )
    print(json.dumps(found, indent=1) if as_json else text(workdir, found))
    return found["state"] in ("running", "finished")


def look_up(workdir: Path) -> dict[str, Any]:
    """Returns what a run last said of itself, its state `dead` where it can say no more.

    Empty where it said nothing.
    """
    found = read_status(workdir)
    if found and found["state"] == "running" and not _is_alive(workdir, found):
        found["state"] = "dead"
    return found


def _below(workdir: Path) -> list[Path]:
    """Returns the statuses of runs in a folder and in its folders."""
    return [*workdir.glob(f"*/{STATUS}"), *workdir.glob(f"*/*/{STATUS}")]


def text(workdir: Path, found: Mapping[str, Any]) -> str:
    """Returns a status in lines for people.

    Args:
        workdir: of the run.
        found: as `--json` prints it.
    """
    silent = (datetime.now(UTC) - datetime.fromisoformat(found["updated"])).total_seconds()
    heads = {
        "running": f"running on {found['host']} (process {found['pid']})",
        "dead": f"dead: no sign of life from {found['host']} (process {found['pid']}) for "
        f"{_time(silent)}; the same command goes on from the last checkpoint",
        "finished": "finished",
        "stopped": f"stopped: {found['message']}",
        "failed": f"failed: {found['message']}",
    }
    lines = [f"{workdir}: {heads[found['state']]}"]
    processes, devices = found["processes"], found["devices"]
    several = f", {processes} processes" if processes > 1 else ""
    lines.append(f"  devices      {devices} x {found['device']}{several}")
    lines += _progress(found)
    latest = found["latest"].get("train", {}).get("step")
    for name, record in found["latest"].items():
        figures = [
            f"{key} {value:.4g}"
            for key, value in record.items()
            if isinstance(value, float) and not key.endswith("seconds") and key != "epoch"
        ]
        of = f" (step {record['step']})" if record["step"] != latest else ""
        lines.append(f"  {name:<12} {', '.join(figures)}{of}")
    if (spent := found["spent"]) and (whole := found["seconds"]):
        shares = [f"{name} {seconds / whole:.0%}" for name, seconds in spent.items()]
        other = max(0.0, 1 - sum(spent.values()) / whole)
        lines.append(f"  time         {', '.join(shares)}, other {other:.0%}")
    lines.append(f"  memory       {_memory(found['memory'])}")
    saved = ", ".join(map(str, found["checkpoints"])) or "none"
    lines.append(f"  checkpoints  {saved}")
    if found["state"] == "running" and found["activity"]:
        lines.append(f"  at           {found['activity']} for {_time(found['activity_seconds'])}")
    if found["stacks"]:
        lines.append(f"  hung         see {', '.join(found['stacks'])}")
    return "\n".join(lines)


def _progress(found: Mapping[str, Any]) -> list[str]:
    train = found["latest"].get("train")
    # What died may have saved since it last told how it is doing, or have told nothing yet.
    told = [train["step"]] if train else []
    step = max([found["resumed_at"], *told, *found["checkpoints"]])
    total = found["total_steps"]
    progress = f"{step} of {total} ({step / total:.0%})"
    taken = step - found["resumed_at"]
    compiling = found.get("compiling")  # what versions of old do not tell
    if found["state"] == "running" and train and taken and compiling is not None:
        left = (total - step) * (found["seconds"] - compiling) / taken
        progress += f", about {_time(left)} left"
    return [f"  step         {progress}"]


def _memory(found: Mapping[str, int]) -> str:
    parts = [f"host {found['host_peak_bytes'] / _GIB:.2f} GiB at most"]
    if "device_peak_bytes_in_use" in found:
        limit = found.get("device_bytes_limit")
        of = f" of {limit / _GIB:.1f}" if limit else ""
        parts.append(f"device {found['device_peak_bytes_in_use'] / _GIB:.2f}{of} GiB at most")
    return ", ".join(parts)


def _is_alive(workdir: Path, found: Mapping[str, Any]) -> bool:
    """Whether someone holds the run's lock; from another host, whether it was heard of lately."""
    silent = datetime.now(UTC) - datetime.fromisoformat(found["updated"])
    was_heard = silent < timedelta(seconds=_SILENT * PERIOD)
    if is_bucket(workdir):
        return was_heard
    try:
        with (workdir / "lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        if found["host"] == socket.gethostname():
            return False
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        pass
    return was_heard


def _time(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
