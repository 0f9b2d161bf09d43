"""STL-10 as published (https://cs.stanford.edu/~acoates/stl10), with its folds.

Images are 3 planes of 96 columns of 96 bytes; labels are bytes from 1; a line of fold_indices.txt
is the images of a fold, by their places in train_X.bin.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from symskip_jax.data.archives.cifar import encode_png
from symskip_jax.data.archives.progress import track
from symskip_jax.data.archives.tar import unpack
from symskip_jax.data.archives.writer import Record, write_dataset
from symskip_jax.data.base import UNLABELLED
from symskip_jax.data.named_subsets import NamedSubset
from symskip_jax.errors import UserError

NUM_CLASSES = 10
NUM_FOLDS = 10
IMAGE_BYTES = 3 * 96 * 96

# By TFDS's names of the splits.
_SPLITS = {
    "train": ("train_X.bin", "train_y.bin"),
    "test": ("test_X.bin", "test_y.bin"),
    "unlabelled": ("unlabeled_X.bin", None),
}
_FILES = (
    *(file for pair in _SPLITS.values() for file in pair if file),
    "class_names.txt",
    "fold_indices.txt",
)


def import_stl10(name: str, archives: list[Path], folder: Path, *, strict: bool) -> None:
    """Write STL-10 into an empty folder, which takes 3 GB more than what is written, meanwhile.

    Raises:
        UserError: it is not such an archive, or is damaged.
    """
    if len(archives) > 1:
        raise UserError(f"{name} is one archive, stl10_binary.tar.gz: name one")
    (archive,) = archives
    unpacked = folder / "unpacked"
    unpacked.mkdir()
    unpack(archive, {it: it for it in _FILES}, unpacked, strict=strict)
    for file in _FILES:
        if not (unpacked / file).exists():
            raise UserError(f"{archive} has no '{file}': it is not an archive of {name}")
    splits = {split: _Split(archive, unpacked, split) for split in _SPLITS}
    folds = _read_folds(archive, unpacked, len(splits["train"]))
    write_dataset(
        folder,
        name,
        [(split, it.records()) for split, it in splits.items()],
        {"label": _read_class_names(archive, unpacked)},
        {f"fold_{i}": NamedSubset("train", indices) for i, indices in enumerate(folds)},
    )
    for file in _FILES:
        (unpacked / file).unlink()
    unpacked.rmdir()


class _Split:
    def __init__(self, archive: Path, unpacked: Path, split: str):
        images_file, labels_file = _SPLITS[split]
        num_bytes = (unpacked / images_file).stat().st_size
        if not num_bytes or num_bytes % IMAGE_BYTES:
            raise UserError(
                f"'{images_file}' in {archive} has {num_bytes} bytes, which is no whole number "
                f"of images of {IMAGE_BYTES}"
            )
        planes = np.memmap(unpacked / images_file, np.uint8, "r")
        self._split = split
        self._images_nhwc = planes.reshape(-1, 3, 96, 96).transpose(0, 3, 2, 1)
        self._labels_n = np.full(len(self), UNLABELLED)
        if labels_file:
            labels_n = np.fromfile(unpacked / labels_file, np.uint8)
            wrong = np.flatnonzero((labels_n < 1) | (labels_n > NUM_CLASSES))
            if len(wrong):
                raise UserError(
                    f"'{labels_file}' in {archive}: label {labels_n[wrong[0]]} of image {wrong[0]} "
                    f"is outside the range 1 to {NUM_CLASSES}"
                )
            if len(labels_n) != len(self):
                raise UserError(
                    f"'{labels_file}' in {archive} has {len(labels_n)} labels for {len(self)} "
                    "images"
                )
            self._labels_n = labels_n.astype(np.int64) - 1

    def __len__(self) -> int:
        return len(self._images_nhwc)

    def records(self) -> Iterator[Record]:
        for index in track(range(len(self)), f"writing {self._split}", self._images_nhwc.nbytes):
            image = encode_png(self._images_nhwc[index])
            yield {"image": image, "label": int(self._labels_n[index])}


def _read_class_names(archive: Path, unpacked: Path) -> list[str]:
    text = (unpacked / "class_names.txt").read_text("latin-1")
    names = [line.strip() for line in text.splitlines() if line.strip()]
    if len(set(names)) != NUM_CLASSES or len(names) != NUM_CLASSES:
        raise UserError(f"'class_names.txt' in {archive} does not have {NUM_CLASSES} names")
    return names


def _read_folds(archive: Path, unpacked: Path, num_images: int) -> list[np.ndarray]:
    text = (unpacked / "fold_indices.txt").read_text("latin-1")
    try:
        lines = [line.split() for line in text.splitlines() if line.strip()]
        folds = [np.array([int(it) for it in line], np.int64) for line in lines]
    except (ValueError, OverflowError):
        folds = []
    if len(folds) != NUM_FOLDS:
        raise UserError(f"'fold_indices.txt' in {archive} does not have {NUM_FOLDS} lines of folds")
    for number, indices in enumerate(folds):
        is_inside = (indices >= 0) & (indices < num_images)
        if not is_inside.all() or len(np.unique(indices)) != len(indices):
            raise UserError(
                f"'fold_indices.txt' in {archive}: fold {number} has images outside the "
                f"{num_images} of train, or twice"
            )
    return folds
