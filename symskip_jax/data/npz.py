"""Images in a NumPy archive."""

from zipfile import is_zipfile

import numpy as np

from symskip_jax.data.base import UNLABELLED, ArraySource
from symskip_jax.data.paths import local_path
from symskip_jax.data.splits import mark_split
from symskip_jax.errors import MissingDataError, NoSuchSplitError, UserError

MAX_UNNAMED_CLASSES = 100_000


def open_npz(path: str, split: str) -> ArraySource:
    """Open a split of an .npz file.

    The file holds one of

    - `images` and, perhaps, `labels`: then "test" is a fixed tenth of the images of each class, at
      least one of a class of two or more, and "train" is the rest;
    - `train_images`, `test_images` and, perhaps, `train_labels`, `test_labels`.

    Images are uint8 [N, H, W] or [N, H, W, C] with C 1 (grey) or 3 (RGB); labels are integers [N]
    from 0. `class_names`, strings [number of classes], is optional: without it the numbers are the
    names.

    Raises:
        UserError: there is no such file, array or split, or an array is not as above.
    """
    archive = _Archive(path)
    has_splits = f"{split}_images" in archive.keys or "images" not in archive.keys
    prefix = f"{split}_" if has_splits else ""
    images_nhwc = archive.images(f"{prefix}images")
    if f"{prefix}labels" in archive.keys:
        labels_n = archive.labels(f"{prefix}labels")
        class_names = archive.class_names(f"{prefix}labels")
    else:
        labels_n, class_names = np.full(len(images_nhwc), UNLABELLED), None
    if len(labels_n) != len(images_nhwc):
        raise UserError(
            f"{archive.name}: {len(images_nhwc)} '{prefix}images' and {len(labels_n)} "
            f"'{prefix}labels': there must be one label an image"
        )
    if not has_splits:
        is_chosen_n = mark_split(labels_n, split, archive.name)
        images_nhwc, labels_n = images_nhwc[is_chosen_n], labels_n[is_chosen_n]
    return ArraySource(f"{archive.name} {split}", images_nhwc, labels_n, class_names)


class _Archive:
    """The arrays of one file, checked as they are read."""

    def __init__(self, path: str):
        self.name = f"npz:{path}"
        self._file = local_path(path)
        if not self._file.exists():
            raise MissingDataError(f"{self.name} does not exist")
        if not self._file.is_file() or not is_zipfile(self._file):
            raise UserError(f"{self.name} is not a whole .npz file: write one with numpy.savez")
        try:
            with self._file.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                self.keys = tuple(archive)
        except Exception as error:  # whatever zipfile and NumPy stumble over in a damaged file
            raise UserError(
                f"{self.name} is damaged: write or copy it again ({_line(error)})"
            ) from error

    def images(self, key: str) -> np.ndarray:
        """uint8 [N, H, W, C], none of them 0."""
        images = self._read(key)
        images_nhwc = images[..., None] if images.ndim == 3 else images
        is_right = images.dtype == np.uint8 and images_nhwc.ndim == 4
        if not is_right or images_nhwc.shape[-1] not in (1, 3) or not images.size:
            raise UserError(
                f"{self.name}: '{key}' is {images.dtype} {list(images.shape)}: it must be uint8 "
                "[N, H, W] or [N, H, W, C] with 1 or 3 channels, and not empty"
            )
        return images_nhwc

    def labels(self, key: str) -> np.ndarray:
        """Integers [N], each the index of a class."""
        labels = self._read(key)
        if labels.dtype.kind not in "iu" or labels.ndim != 1:
            raise UserError(
                f"{self.name}: '{key}' is {labels.dtype} {list(labels.shape)}: it must be "
                "integers [N]"
            )
        num_classes = len(self._given_names() or range(MAX_UNNAMED_CLASSES))
        outside = np.flatnonzero((labels < 0) | (labels >= num_classes))
        if len(outside):
            raise UserError(
                f"{self.name}: label {labels[outside[0]]} of image {outside[0]} in '{key}' is "
                f"outside the range 0 to {num_classes - 1}"
            )
        return labels

    def class_names(self, key: str) -> tuple[str, ...]:
        """Those given, or else the numbers up to the largest label, of the other split too."""
        given = self._given_names()
        if given:
            return given
        keys = {key, "train_labels", "test_labels"} & set(self.keys)
        largest = max(int(self.labels(key).max(initial=0)) for key in keys)
        return tuple(str(label) for label in range(largest + 1))

    def _given_names(self) -> tuple[str, ...] | None:
        if "class_names" not in self.keys:
            return None
        names = self._read("class_names")
        if names.dtype.kind not in "US" or names.ndim != 1 or not names.size:
            raise UserError(
                f"{self.name}: 'class_names' is {names.dtype} {list(names.shape)}: it must be "
                "strings [number of classes]"
            )
        try:
            return tuple(names.astype(str).tolist())
        except ValueError as error:
            raise UserError(
                f"{self.name}: 'class_names' is no text that can be read: {_line(error)}"
            ) from error

    def _read(self, key: str) -> np.ndarray:
        if key not in self.keys:
            there = _line(", ".join(self.keys)) or "nothing"
            raise NoSuchSplitError(
                f"{self.name} has no array '{key}', only {there}: call "
                "them images, labels, or train_images, train_labels, test_images, test_labels"
            )
        try:
            with self._file.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                return np.asarray(archive[key])
        except Exception as error:  # as above
            raise UserError(f"{self.name}: '{key}' cannot be read: {_line(error)}") from error


def _line(text: object) -> str:
    return " ".join(str(text).split())[:200]
