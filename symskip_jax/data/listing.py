"""Which image files lie under a folder; what took long to find out is remembered."""

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import NamedTuple

import numpy as np

from symskip_jax.data.paths import cache_folder
from symskip_jax.errors import ReadFailedError, UserError

EXTENSIONS = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")

# Smaller listings are made anew in milliseconds.
MIN_REMEMBERED = 1000

CHUNK = 1000  # files that a thread looks up in one go

# A folder that changes again within the resolution of its time stamp would go unnoticed.
_SETTLED_NS = 2 * 10**9


class Folder(NamedTuple):
    """One folder as it was listed.

    mtime_ns: when it last changed.
    images: names of its image files.
    others: how many files have each other extension.
    """

    mtime_ns: int
    images: list[str]
    others: dict[str, int]


class Listing(NamedTuple):
    """Image files below a folder.

    paths: relative to it, with "/" between parts, in order of their parts.
    others: how many other files have each extension, "" for none; pipes and devices among them.
    """

    paths: list[str]
    others: Counter[str]


def list_images(root: Path) -> Listing:
    """List every image file under root at any depth; hidden files and folders are passed over.

    Links to folders are followed, but not into a folder that they lie in themselves. A large
    listing is kept in $XDG_CACHE_HOME/symskip_jax/listings (~/.cache/...), and holds as long as no
    folder in it has changed; a file that is overwritten in its place does not change its folder.

    Raises:
        UserError: a folder cannot be listed.
    """
    cache = _cache_file(root)
    folders = _remembered(cache, root)
    if folders is None:
        started_ns = time.time_ns()
        folders = _walk(root)
        newest_ns = max(folder.mtime_ns for folder in folders.values())
        num_images = sum(len(folder.images) for folder in folders.values())
        if num_images >= MIN_REMEMBERED and newest_ns < started_ns - _SETTLED_NS:
            _remember(cache, root, folders)
    paths = [prefix + name for prefix, folder in folders.items() for name in folder.images]
    others = Counter()
    for folder in folders.values():
        others.update(folder.others)
    # As tuples of parts are ordered: no character comes before the end of a part.
    return Listing(sorted(paths, key=lambda path: path.replace("/", "\0")), others)


def _walk(root: Path) -> dict[str, Folder]:
    """Every folder from root down, by its path below root, which ends in "/" or is empty."""
    folders: dict[str, Folder] = {}
    pending: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset())]
    while pending:
        prefix, above = pending.pop()
        path = os.path.join(root, prefix)
        try:
            # Before its entries, so that what is added meanwhile shows the next time.
            stat = os.stat(path)
            identity = stat.st_dev, stat.st_ino
            if identity in above:
                continue
            folder = Folder(stat.st_mtime_ns, [], Counter())
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if _is_folder(entry):
                        pending.append((f"{prefix}{entry.name}/", above | {identity}))
                        continue
                    suffix = os.path.splitext(entry.name)[1].lower()
                    if suffix in EXTENSIONS and not _is_special(entry):
                        folder.images.append(entry.name)
                    else:
                        folder.others[suffix] += 1
        except OSError as error:
            raise UserError(f"{path} cannot be listed: {error.strerror}") from error
        folders[prefix] = folder
    return folders


def file_sizes(paths: Sequence[str]) -> np.ndarray:
    """Look up how large files are now, int64 [N] bytes, in threads.

    Nothing is remembered, because a file overwritten in its place does not change its folder.

    Raises:
        ReadFailedError: there is no telling of one.
    """

    def sizes(start: int) -> list[int]:
        try:
            return [os.stat(path).st_size for path in paths[start : start + CHUNK]]
        except OSError as error:
            raise ReadFailedError(f"{error.filename} cannot be read: {error.strerror}") from error

    with ThreadPoolExecutor() as pool:
        found = pool.map(sizes, range(0, len(paths), CHUNK))
        return np.array([size for chunk in found for size in chunk], np.int64)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    # A link to itself is an error for entry.is_dir().
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()


def _is_special(entry: os.DirEntry[str]) -> bool:
    """Whether it is a pipe, a device or a socket, to open which may never come to an end."""
    if entry.is_symlink():  # one that leads nowhere is an image that cannot be read
        return os.path.exists(entry.path) and not os.path.isfile(entry.path)
    return not entry.is_file()


def _cache_file(root: Path) -> Path:
    name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:32]
    return cache_folder() / "listings" / f"{name}.json"


def _remembered(cache: Path, root: Path) -> dict[str, Folder] | None:
    """The listing in a cache file, if it is whole and still true."""
    with suppress(OSError, ValueError, TypeError, AttributeError, KeyError):
        read = json.loads(cache.read_bytes())
        folders = {prefix: Folder(*fields) for prefix, fields in read["folders"].items()}
        is_true = read["root"] == str(root.resolve()) and all(
            os.stat(os.path.join(root, prefix)).st_mtime_ns == folder.mtime_ns
            and all(isinstance(name, str) for name in folder.images)
            and all(isinstance(count, int) for count in folder.others.values())
            for prefix, folder in folders.items()
        )
        return folders if is_true and "" in folders else None
    return None


def _remember(cache: Path, root: Path, folders: dict[str, Folder]) -> None:
    """Write the listing, whole or not at all; a place that cannot be written does not matter."""
    content = json.dumps({"root": str(root.resolve()), "folders": folders})
    with suppress(OSError):
        cache.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=cache.parent, delete=False) as file:
            try:
                file.write(content)
                file.flush()
                os.replace(file.name, cache)
            except BaseException:
                os.unlink(file.name)
                raise
