"""Under which circumstances something was measured, as the results tell it."""

import datetime
import importlib.metadata
import json
import os
import platform
import shlex
import statistics
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from symskip_jax.errors import UserError

# Where a configuration or an option names a place of this machine, which is its own business.
_PLACES = ("data.name", "data.pretrain_name", "data.data_dir")
_PACKAGES = ("symskip_jax", "jax", "jaxlib", "flax", "optax", "numpy", "torch")


def describe_setting(command: str, packages: Sequence[str] = _PACKAGES) -> dict[str, Any]:
    """Returns the date, the machine, the versions and the command, without any path.

    Args:
        command: that makes the same measurement again.
        packages: whose versions matter; those not installed are left out.
    """
    versions = {}
    for package in packages:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "command": command,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cpu": _cpu_model(),
        "cores": num_cores(),
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "versions": versions,
    }


def configured_command(
    action: str, config: str, overrides: Sequence[str], options: dict[str, Any]
) -> str:
    """Returns the command of a measurement of a configuration.

    Args:
        action: of `symskip bench`.
        config: as it was given.
        overrides: `--config.key=value`.
        options: by name; those that are None are left out.
    """
    name = Path(config).name if Path(config).is_absolute() else config
    kept = [it for it in overrides if it.partition("=")[0] not in _PLACE_OPTIONS]
    words = ["symskip", "bench", action, "--config", name, *kept]
    for option, value in options.items():
        if value is not None:
            values = value if isinstance(value, list | tuple) else [value]
            words += [f"--{option}", *map(str, values)]
    return shlex.join(words)


def make_room(out: Path | None) -> None:
    """Sees, before anything is measured, that results can be written.

    Raises:
        UserError: they cannot.
    """
    if out is None:
        return
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with out.open("a"):  # what is there stays until there is something better
            pass
    except OSError as error:
        raise UserError(f"--out {out} cannot be written: {error.strerror}") from error


def write_results(results: dict[str, Any], out: Path | None) -> None:
    """Writes results as JSON, where somewhere is given."""
    if out is not None:
        out.write_text(json.dumps(results, indent=1) + "\n")


def spread(values: Sequence[float]) -> dict[str, float]:
    """Returns the median and the ends of a figure over the rounds."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def num_cores() -> int:
    """Returns the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_PLACE_OPTIONS = tuple(f"--config.{key}" for key in _PLACES)


def _cpu_model() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
