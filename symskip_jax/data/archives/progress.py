"""How far a long import is, shown on a terminal beside what the command prints."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

import rich.progress
from rich.console import Console

# Less than this is read in a second or two.
SHOWN_BYTES = 2**28


def open_shown(path: Path, doing: str) -> AbstractContextManager[BinaryIO]:
    """Open a file to read, showing how much of it has been read if it is large."""
    return rich.progress.open(
        path,
        "rb",
        description=f"{doing} {path.name}",
        console=Console(stderr=True),
        transient=True,
        disable=path.stat().st_size < SHOWN_BYTES,
    )


def track(indices: range, doing: str, num_bytes: int) -> Iterable[int]:
    """Go through indices, showing how far it is if they stand for many bytes."""
    return rich.progress.track(
        indices,
        doing,
        console=Console(stderr=True),
        transient=True,
        disable=num_bytes < SHOWN_BYTES,
    )
