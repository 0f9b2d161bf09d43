"""The features that a command has computed so far, in files beside the one it is to write."""

import contextlib
import fcntl
import io
import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from symskip_jax.analysis.feature_files import Piece
from symskip_jax.analysis.files import write_atomically
from symskip_jax.errors import UserError


class FeatureParts:
    """A folder with one file a batch, as long as it is entered one process's alone.

    Going over it gives the parts that are there, in order, read as they are looked into.
    """

    def __init__(self, out: Path, facts: Mapping[str, Any]):
        """Looks at nothing yet.

        Args:
            out: the file that the parts are of; the folder stands beside it.
            facts: what decides the features, as JSON holds it.
        """
        self.folder = out.with_name(f"{out.name}.parts")
        self._facts = facts
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Makes the folder, or finds it as another start of the same command left it.

        Raises:
            UserError: it holds the features of something else, or a process is at work on it.
            OSError: it cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = self._stack.enter_context((self.folder / "lock").open("a"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._stack.close()
            raise UserError(
                f"{self.folder} is being written by another `symskip features`: wait for it, or "
                "give another --out"
            ) from error
        except OSError:
            pass  # a file system without locks
        file = self.folder / "facts.json"
        try:
            theirs = json.loads(file.read_text())
        except FileNotFoundError:
            theirs = dict(self._facts)
            write_atomically(file, json.dumps(theirs).encode())
        except ValueError:
            theirs = {}
        if differing := differences(theirs, self._facts):
            self._stack.close()
            raise UserError(f"{self.folder} holds parts of other features: {differing}; delete it")
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __iter__(self) -> Iterator[Piece]:
        for number in range(self.count()):
            piece = _StoredPiece(self._path(number))
            if len(piece["index"]):
                yield piece

    def count(self) -> int:
        """Returns how many batches, from the first on, are there and whole."""
        number = 0
        while self._is_whole(self._path(number)):
            number += 1
        return number

    def write(self, number: int, piece: Piece) -> None:
        """Writes a batch, whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        content = io.BytesIO()
        arrays: dict[str, Any] = dict(piece)
        np.savez(content, **arrays)
        write_atomically(self._path(number), content.getvalue())

    def remove(self) -> None:
        """Removes the folder; nothing is entered any more."""
        self._stack.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:08d}.npz"

    @staticmethod
    def _is_whole(path: Path) -> bool:
        # The list of an archive's members is at its end.
        return path.exists() and zipfile.is_zipfile(path)


def differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """Returns in which facts two sets of features differ, in words; "" where they do not."""
    return ", ".join(
        f"{key} ({theirs.get(key)!r} there, {ours.get(key)!r} here)"
        for key in sorted({*theirs, *ours})
        if theirs.get(key) != ours.get(key)
    )


class _StoredPiece(Mapping[str, np.ndarray]):
    """A part in its file: each array is read when it is asked for, and not kept."""

    def __init__(self, path: Path):
        self._path = path

    def __getitem__(self, name: str) -> np.ndarray:
        with np.load(self._path, allow_pickle=False) as archive:
            return archive[name]

    def __iter__(self) -> Iterator[str]:
        with np.load(self._path, allow_pickle=False) as archive:
            return iter(archive.files)

    def __len__(self) -> int:
        return len(list(iter(self)))
