"""Seals: by them a file that was cut short, lost or changed since it was written is found out.

Neither Orbax nor TensorStore notices a changed byte in the values of an array.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from etils import epath

NAME = "seal.json"


def seal(folder: epath.Path, parts: Sequence[str]) -> None:
    """Writes the SHA-256 of every file in the given sub-folders to `seal.json` in the folder."""
    files = [path for part in parts for path in _files(folder / part)]
    sums = {path.relative_to(folder).as_posix(): _sha256(path) for path in sorted(files)}
    (folder / NAME).write_text(json.dumps(sums, indent=1) + "\n")


def check_seal(folder: epath.Path | Path) -> None:
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


def _files(folder: epath.Path) -> Iterator[epath.Path]:
    for path in folder.iterdir():
        if path.is_dir():
            yield from _files(path)
        else:
            yield path


def _sha256(path: epath.Path | Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
