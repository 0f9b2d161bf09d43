"""Seals: by them a file that was cut short, lost or changed since it was written is found out.

Neither Orbax nor TensorStore notices a changed byte in the values of an array.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from symskip_jax.training.workdir import write_json

NAME = "seal.json"


def seal(folder: Path, parts: Sequence[str]) -> None:
    """Writes the SHA-256 of every file in the given sub-folders to `seal.json` in the folder."""
    files = [path for part in parts for path in (folder / part).rglob("*") if path.is_file()]
    sums = {path.relative_to(folder).as_posix(): _sha256(path) for path in sorted(files)}
    write_json(folder / NAME, sums)


def check_seal(folder: Path) -> None:
    """Checks the files that a folder was sealed with; one without a seal passes.

    Raises:
        ValueError: a file is missing or not what it was.
    """
    if not (folder / NAME).exists():
        return
    for name, expected in json.loads((folder / NAME).read_text()).items():
        if not (folder / name).is_file():
            raise ValueError(f"{name} is missing")
        if _sha256(folder / name) != expected:
            raise ValueError(f"{name} has changed since it was saved")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
