"""The folder of a run, and whose run it holds."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from symskip_jax.errors import UserError

# May change between two starts of one run: where the data lies and whether it is streamed (what is
# read, and how, is checked apart), how fast and how stubbornly it is read, what is done about
# images that are broken, which a run that met one is to go on without, and where the state lies.
_MAY_DIFFER = {
    *(
        f"config.data.{name}"
        for name in ("data_dir", "input", "threads", "workers", "read_retries", "bad_image")
    ),
    "config.run.replicas",
    "config.run.shard_optimizer",
}


def claim_workdir(workdir: Path, identity: dict[str, Any]) -> bool:
    """Makes a folder the run's own, or finds that it is already.

    Args:
        workdir: made if missing.
        identity: flat, as JSON gives it back: everything that decides what the run computes.

    Returns:
        Whether the run had been started here before.

    Raises:
        UserError: the folder cannot be written, or holds another run; the differing keys are named.
    """
    make_workdir(workdir)
    path = workdir / "config.json"
    if not path.exists():
        write_json(path, identity)
        return False
    try:
        existing = json.loads(path.read_text())
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
    return True


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


def write_json(path: Path, value: Any) -> None:
    """Writes JSON in one stroke: a reader sees the old file or the new one."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(value, indent=1) + "\n")
    os.replace(partial, path)
