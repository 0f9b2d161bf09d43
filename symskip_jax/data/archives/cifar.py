"""CIFAR-10 and CIFAR-100 as published: https://www.cs.toronto.edu/~kriz/cifar.html.

In the binary version a record is a byte for each label and then 3072 for the image, plane by plane;
in the python version each file is a pickled dict of the same.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from symskip_jax.data.archives.tar import unpack
from symskip_jax.data.archives.unpickle import read_pickle
from symskip_jax.data.archives.writer import Record, write_dataset
from symskip_jax.errors import UserError

IMAGE_BYTES = 3 * 32 * 32


class _Version(NamedTuple):
    """How the files of an archive are called.

    splits: the files of each split.
    names: for each kind of label the file with its names, and, in a pickle, the key.
    keys: in a pickle, of each kind of label.
    """

    splits: Mapping[str, tuple[str, ...]]
    names: Mapping[str, tuple[str, str]]
    keys: Mapping[str, str]


# In the order that the labels have in a record.
_CLASSES = {"cifar10": {"label": 10}, "cifar100": {"coarse_label": 20, "label": 100}}

_VERSIONS = {
    "cifar10": (
        _Version(
            {
                "train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
                "test": ("test_batch.bin",),
            },
            {"label": ("batches.meta.txt", "")},
            {},
        ),
        _Version(
            {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)},
            {"label": ("batches.meta", "label_names")},
            {"label": "labels"},
        ),
    ),
    "cifar100": (
        _Version(
            {"train": ("train.bin",), "test": ("test.bin",)},
            {
                "coarse_label": ("coarse_label_names.txt", ""),
                "label": ("fine_label_names.txt", ""),
            },
            {},
        ),
        _Version(
            {"train": ("train",), "test": ("test",)},
            {
                "coarse_label": ("meta", "coarse_label_names"),
                "label": ("meta", "fine_label_names"),
            },
            {"coarse_label": "coarse_labels", "label": "fine_labels"},
        ),
    ),
}


def import_cifar(name: str, archives: list[Path], folder: Path, *, strict: bool) -> None:
    """Write CIFAR-10 or CIFAR-100, from the binary or the python version, into an empty folder.

    Raises:
        UserError: it is not one such archive, or is damaged.
    """
    if len(archives) > 1:
        raise UserError(f"{name} is one archive, the binary or the python version: name one")
    (archive,) = archives
    unpacked = folder / "unpacked"
    unpacked.mkdir()
    wanted = {it for version in _VERSIONS[name] for it in _files(version)}
    unpack(archive, {it: it for it in wanted}, unpacked, strict=strict)
    there = {it.name for it in unpacked.iterdir()}
    version = max(_VERSIONS[name], key=lambda it: len(_files(it) & there))
    if missing := sorted(_files(version) - there):
        raise UserError(f"{archive} has no '{missing[0]}': it is not an archive of {name}")
    reader = _Reader(name, version, archive, unpacked)
    class_names = {feature: reader.class_names(feature) for feature in version.names}
    splits = [(split, reader.records(split)) for split in version.splits]
    write_dataset(folder, name, splits, class_names)
    for path in unpacked.iterdir():
        path.unlink()
    unpacked.rmdir()


def _files(version: _Version) -> set[str]:
    names = {file for file, _ in version.names.values()}
    return names.union(*version.splits.values())


class _Reader:
    def __init__(self, name: str, version: _Version, archive: Path, unpacked: Path):
        self._num_classes = _CLASSES[name]
        self._version, self._archive, self._unpacked = version, archive, unpacked

    def class_names(self, feature: str) -> list[str]:
        file, key = self._version.names[feature]
        names: Any
        if key:
            names = self._pickle(file).get(key)
        else:
            names = self._read(file).decode("latin-1").split("\n")
            names = [it.strip() for it in names if it.strip()]
        expected = self._num_classes[feature]
        is_list = isinstance(names, list) and all(isinstance(it, str | bytes) for it in names)
        names = (
            [it.decode("latin-1") if isinstance(it, bytes) else it for it in names]
            if is_list
            else []
        )
        if len(set(names)) != expected or len(names) != expected or not all(map(_is_name, names)):
            raise UserError(f"{self._named(file)} does not have {expected} names of classes")
        return names

    def records(self, split: str) -> Iterator[Record]:
        index = 0
        for file in self._version.splits[split]:
            images_nhwc, labels = self._pickled(file) if self._version.keys else self._binary(file)
            for row, image in enumerate(images_nhwc):
                yield {
                    "id": f"{split}_{index:05}",
                    "image": encode_png(image),
                    **{feature: int(values[row]) for feature, values in labels.items()},
                }
                index += 1

    def _binary(self, file: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        content = self._read(file)
        num_labels = len(self._num_classes)
        if not content or len(content) % (num_labels + IMAGE_BYTES):
            raise UserError(
                f"{self._named(file)} has {len(content)} bytes, which is no whole number of "
                f"records of {num_labels + IMAGE_BYTES}"
            )
        records = np.frombuffer(content, np.uint8).reshape(-1, num_labels + IMAGE_BYTES)
        labels = {feature: records[:, i] for i, feature in enumerate(self._num_classes)}
        return self._checked(file, records[:, num_labels:], labels)

    def _pickled(self, file: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        content = self._pickle(file)
        data: Any = content.get("data")
        is_array = isinstance(data, np.ndarray) and data.dtype == np.uint8 and len(data)
        if not is_array or data.shape != (len(data), IMAGE_BYTES):
            raise UserError(f"{self._named(file)} has no 'data' of uint8 [N, {IMAGE_BYTES}]")
        labels = {}
        for feature, key in self._version.keys.items():
            values: Any = content.get(key)
            is_list = isinstance(values, list) and all(type(it) is int for it in values)
            if not is_list or len(values) != len(data):
                raise UserError(f"{self._named(file)} has no '{key}' of {len(data)} integers")
            labels[feature] = values
        return self._checked(file, data, labels)

    def _checked(
        self, file: str, planes: np.ndarray, labels: Mapping[str, Any]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        for feature, values in labels.items():
            largest = self._num_classes[feature] - 1
            wrong = next((row for row, it in enumerate(values) if not 0 <= it <= largest), None)
            if wrong is not None:
                raise UserError(
                    f"{self._named(file)}: {feature} {values[wrong]} of image {wrong} is outside "
                    f"the range 0 to {largest}"
                )
        images_nhwc = planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        return images_nhwc, {feature: np.asarray(values) for feature, values in labels.items()}

    def _pickle(self, file: str) -> dict[str, Any]:
        content = read_pickle(self._read(file), self._named(file))
        if not isinstance(content, dict):
            raise UserError(f"{self._named(file)} is not the pickle of a dict")
        return content

    def _read(self, file: str) -> bytes:
        return (self._unpacked / file).read_bytes()

    def _named(self, file: str) -> str:
        return f"'{file}' in {self._archive}"


def encode_png(image: np.ndarray) -> bytes:
    """Encode an RGB image, uint8 [H, W, 3], as TFDS stores those that come as arrays."""
    swapped = np.ascontiguousarray(image[..., ::-1])  # OpenCV has blue first
    return cv2.imencode(".png", swapped)[1].tobytes()


def _is_name(text: str) -> bool:
    return bool(text) and text.isprintable()
