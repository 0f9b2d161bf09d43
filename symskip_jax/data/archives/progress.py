"""How far a long import is, shown on a terminal beside what the command prints."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import rich.progress
from rich.console import Console
from rich.markup import escape

from symskip_jax.errors import UserError

# Less than this is read in a second or two.
SHOWN_BYTES = 2**28


@contextmanager
def open_shown(path: Path, doing: str) -> Iterator[BinaryIO]:
    """Open a file to read, showing how much of it has been read if it is large.

    Raises:
        UserError: it cannot be opened.
    """
    try:
        opened = rich.progress.open(
            path,
            "rb",
            description=f"{doing} {escape(path.name)}",
            console=Console(stderr=True),
            transient=True,
            disable=path.stat().st_size < SHOWN_BYTES,
        )
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    with opened as file:
        yield file


def track(indices: range, doing: str, num_bytes: int) -> Iterable[int]:
    """Go through indices, showing how far it is if they stand for many bytes."""
    return rich.progress.track(
        indices,
        doing,
        console=Console(stderr=True),
        transient=True,
        disable=num_bytes < SHOWN_BYTES,
    )
