"""A folder that appears whole or not at all."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from symskip_jax.errors import UserError

PREFIX = "incomplete.symskip_"


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Give an empty folder beside the target; nothing of it is left if the block raises.

    The block fills it and moves it, or what is in it, to where it belongs. What a killed process
    left behind is removed when the same target is tried again.

    Raises:
        UserError: the folder cannot be made or written (the disk is full, nobody may write there),
            or another process is filling it.
    """
    missing = [it for it in (target.parent, *target.parent.parents) if not os.path.exists(it)]
    try:
        with _locked(target.parent):
            folder = target.parent / f"{PREFIX}{target.name}"
            _remove(folder)
            try:
                folder.mkdir()
                yield folder
            finally:
                _remove(folder)
    except OSError as error:
        raise UserError(
            f"{target} cannot be written: {error.strerror or error}; nothing of it is kept: make "
            "room, or choose another --data_dir"
        ) from error
    finally:
        for made in missing:
            with suppress(OSError):  # it holds the dataset, or something of somebody else's
                made.rmdir()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise UserError(f"{folder} is being written by another process: wait for it") from error
    finally:
        os.close(descriptor)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
