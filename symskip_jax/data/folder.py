"""A folder of image files."""

import logging
import os
from collections import Counter
from pathlib import Path

import numpy as np

from symskip_jax.data.base import UNLABELLED, Features, Source, Stored
from symskip_jax.data.splits import mark_split
from symskip_jax.errors import ReadFailedError, UserError

EXTENSIONS = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
SPLIT_FOLDERS = ("train", "test", "val")

logger = logging.getLogger(__name__)


class FolderSource(Source):
    """The images under a folder, decoded to uint8 RGB [H, W, 3] as they are read.

    Classes: the sub-folders, sorted by name, are the classes of whatever lies in them at any depth.
    An image directly in the folder has no label.

    Splits: where there is a folder `train`, the folders `train`, `test` and `val` are the splits,
    each with its classes as above, and "test" means `val` where there is no `test`. Where there is
    none, "test" is a fixed tenth of the images of each class and "train" is the rest.

    Order is by path, the same on every system. Images are decoded as `decode_image` says. Hidden
    files are passed over; other files that are not images are passed over and counted in the log.

    Raises:
        UserError: the folder does not exist, has no images, or has no such split; when reading, a
            file is cut short or cannot be decoded.
    """

    def __init__(self, path: str, split: str):
        self.name = f"folder:{path} {split}"
        root = Path(path).expanduser()
        if not root.exists():
            raise UserError(f"folder:{path} does not exist")
        if not root.is_dir():
            raise UserError(f"folder:{path} is not a folder: name the one that holds the images")
        found = _find_images(root)
        if (root / "train").is_dir():
            folder = _split_folder(root, split)
            found = [parts for parts in found if parts[0] in SPLIT_FOLDERS]
            class_names, labels_n = _classes([parts[1:] for parts in found])
            is_chosen_n = [parts[0] == folder for parts in found]
        else:
            class_names, labels_n = _classes(found)
            is_chosen_n = mark_split(labels_n, split, self.name)
        chosen = np.flatnonzero(is_chosen_n)
        if not len(chosen):
            raise UserError(f"{self.name} has no images")
        kind = "class" if class_names else "none"
        self.features = Features((None, None, 3), kind, class_names)
        self._paths = [root.joinpath(*found[index]) for index in chosen]
        self._labels_n = labels_n[chosen]

    def __len__(self) -> int:
        return len(self._paths)

    def stored(self, index: int, /) -> Stored:
        """Read one file."""
        path = self._paths[index]
        try:
            return Stored(path.read_bytes(), int(self._labels_n[index]))
        except OSError as error:
            raise ReadFailedError(f"{path} cannot be read: {error.strerror}") from error

    def describe(self, index: int, /) -> str:
        """Give the path of one image."""
        return str(self._paths[index])


def _find_images(root: Path) -> list[tuple[str, ...]]:
    """Path parts below root of every image file, sorted."""
    found, others = [], Counter()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for path in (Path(folder, name) for name in files if not name.startswith(".")):
            if path.suffix.lower() in EXTENSIONS:
                found.append(path.relative_to(root).parts)
            else:
                others[path.suffix.lower() or "without extension"] += 1
    seen = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(5))
    if not found:
        raise UserError(
            f"folder:{root} has no images: looked for {', '.join(EXTENSIONS)} at any depth, "
            f"found {seen or 'no files'}"
        )
    if others:
        logger.warning(
            "folder:%s: passed over %d files that are not images (%s)", root, others.total(), seen
        )
    return sorted(found)


def _split_folder(root: Path, split: str) -> str:
    there = [name for name in SPLIT_FOLDERS if (root / name).is_dir()]
    folder = "val" if split == "test" and "test" not in there else split
    if folder not in there:
        raise UserError(
            f"folder:{root} has no split '{split}': its folders of splits are {', '.join(there)}"
        )
    return folder


def _classes(paths: list[tuple[str, ...]]) -> tuple[tuple[str, ...] | None, np.ndarray]:
    names = sorted({parts[0] for parts in paths if len(parts) > 1})
    label_of = {name: label for label, name in enumerate(names)}
    labels = [label_of[parts[0]] if len(parts) > 1 else UNLABELLED for parts in paths]
    return tuple(names) or None, np.array(labels, np.int64)
