"""A folder of image files."""

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from symskip_jax.data.base import UNLABELLED, Features, Source, Stored
from symskip_jax.data.label_file import LABEL_FILE, read_label_file
from symskip_jax.data.listing import EXTENSIONS, file_sizes, list_images
from symskip_jax.data.notices import warn_once
from symskip_jax.data.paths import local_path
from symskip_jax.data.splits import mark_split
from symskip_jax.errors import MissingDataError, NoSuchSplitError, ReadFailedError, UserError

SPLIT_FOLDERS = ("train", "test", "val")

logger = logging.getLogger(__name__)


class _Contents(NamedTuple):
    """Every image of a folder.

    paths: relative to it; labels_n: int64 [N]; splits: of each, None where none is given.
    """

    paths: list[str]
    labels_n: np.ndarray
    class_names: tuple[str, ...] | None
    splits: list[str] | None


class FolderSource(Source):
    """The images under a folder, decoded to uint8 RGB [H, W, 3] as they are read.

    Classes: where the folder has a file `labels.csv`, its labels, sorted, are the classes, and an
    image that it does not name has no label; `read_label_file` says what it looks like. Where there
    is none, the sub-folders, sorted by name, are the classes of whatever lies in them at any depth,
    and an image directly in the folder has no label.

    Splits: a column `split` of `labels.csv` says where an image belongs, and images it does not
    name belong to "train". Otherwise, where there is a folder `train`, the folders `train`, `test`
    and `val` are the splits, each with its classes as above. Either way "test" means "val" where
    there is no "test". Otherwise "test" is a fixed tenth of the images of each class, at least one
    of a class of two or more, and "train" is the rest.

    Order is by path, the same on every system. Images are decoded as `decode_image` says. Hidden
    files are passed over; other files that are not images are passed over and counted in the log.
    A large listing is remembered, as `list_images` says.

    Raises:
        UserError: the folder does not exist, has no images, or has no such split, or a line of
            `labels.csv` is wrong; when reading, a file is cut short or cannot be decoded.
    """

    def __init__(self, path: str, split: str):
        self.name = f"folder:{path} {split}"
        root = local_path(path)
        if not root.exists():
            raise MissingDataError(f"folder:{path} does not exist: name yours as folder:PATH")
        if not root.is_dir():
            raise UserError(f"folder:{path} is not a folder: name the one that holds the images")
        paths, labels_n, class_names, splits = _read_contents(root)
        if splits:
            chosen_split = _choose_split(splits, split, root)
            is_chosen_n = np.array([it == chosen_split for it in splits])
        else:
            is_chosen_n = mark_split(labels_n, split, self.name)
        chosen = np.flatnonzero(is_chosen_n)
        if not len(chosen):
            raise UserError(f"{self.name} has no images")
        kind = "class" if class_names else "none"
        self.features = Features((None, None, 3), kind, class_names)
        self._root = str(root)
        self._paths = [paths[index] for index in chosen]
        self._labels_n = labels_n[chosen]

    def __len__(self) -> int:
        return len(self._paths)

    def stored(self, index: int, /) -> Stored:
        """Read one file."""
        path = self.describe(index)
        try:
            with open(path, "rb") as file:
                return Stored(file.read(), int(self._labels_n[index]))
        except OSError as error:
            raise ReadFailedError(f"{path} cannot be read: {error.strerror}") from error

    def labels(self) -> np.ndarray:
        """Give the labels of all images, int32 [N], without reading any."""
        return self._labels_n.astype(np.int32)

    def fingerprint(self) -> str:
        """Give 16 digits of the paths below the folder, the files' sizes and the labels.

        No image is read: one overwritten by another of the same size goes unnoticed. Times do not
        count, because a copy of the folder is the same dataset.
        """
        digest = hashlib.sha256(repr(self.class_names).encode())
        digest.update(os.fsencode("\0".join(self._paths)))
        sizes_n = file_sizes([self.describe(index) for index in range(len(self))])
        digest.update(sizes_n.astype("<i8").tobytes())
        digest.update(self._labels_n.astype("<i4").tobytes())
        return digest.hexdigest()[:16]

    def describe(self, index: int, /) -> str:
        """Give the path of one image."""
        return os.path.join(self._root, self._paths[index])

    def names(self, indices: Sequence[int], /) -> list[str]:
        """Give the paths of images below the folder."""
        return [self._paths[index] for index in indices]


def _read_contents(root: Path) -> _Contents:
    paths, others = list_images(root)
    label_file = root / LABEL_FILE
    has_labels = os.path.isfile(label_file)
    others.subtract({".csv": has_labels})
    _check_found(root, paths, +others)
    has_folders = os.path.isdir(root / "train")
    if has_labels:
        rows, has_splits = read_label_file(label_file, set(paths), SPLIT_FOLDERS)
        names = {path: row.label for path, row in rows.items() if row.label}
        if has_splits:
            splits = [rows[path].split if path in rows else "train" for path in paths]
            return _Contents(paths, *_number(names, paths), splits)
    if has_folders:
        paths = [path for path in paths if path.partition("/")[0] in SPLIT_FOLDERS]
    if not has_labels:
        names = {path: name for path in paths if (name := _class_folder(path, int(has_folders)))}
    splits = [path.partition("/")[0] for path in paths] if has_folders else None
    return _Contents(paths, *_number(names, paths), splits)


def _check_found(root: Path, paths: list[str], others: Counter[str]) -> None:
    seen = ", ".join(
        f"{count} {suffix or 'without extension'}" for suffix, count in others.most_common(5)
    )
    if not paths:
        raise UserError(
            f"folder:{root} has no images: looked for {', '.join(EXTENSIONS)} at any depth, "
            f"found {seen or 'no files'}"
        )
    if others:
        count = others.total()
        what = "1 file that is no image" if count == 1 else f"{count} files that are no images"
        warn_once(logger, f"folder:{root}: passed over {what} ({seen})")


def _choose_split(splits: list[str], split: str, root: Path) -> str:
    there = [name for name in SPLIT_FOLDERS if name in splits or os.path.isdir(root / name)]
    chosen = "val" if split == "test" and "test" not in there else split
    if chosen not in there:
        raise NoSuchSplitError(f"folder:{root} has no split '{split}': it has {', '.join(there)}")
    return chosen


def _class_folder(path: str, depth: int) -> str | None:
    """Name of the folder so many folders down, if the image lies in one."""
    folders = path.split("/")[:-1]
    return folders[depth] if len(folders) > depth else None


def _number(names: dict[str, str], paths: list[str]) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Labels, int64 [N], from the names of the classes by path; and those names, sorted."""
    class_names = sorted(set(names.values()))
    label_of = {name: label for label, name in enumerate(class_names)}
    labels = [label_of[names[path]] if path in names else UNLABELLED for path in paths]
    return np.array(labels, np.int64), tuple(class_names) or None
