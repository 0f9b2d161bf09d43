"""Small archives in the formats that the datasets were published in, byte for byte."""

import gzip
import io
import struct
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from data_helpers import noise_images

CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
STL10 = ["airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"]
COARSE = [f"kind {i}" for i in range(20)]
FINE = [f"class {i}" for i in range(100)]


class Images(NamedTuple):
    """A split: uint8 [N, H, W, 3], and labels [N] of each kind."""

    images: np.ndarray
    labels: dict[str, list[int]]


def tar_bytes(files: Mapping[str, bytes], *, gz: bool = True) -> bytes:
    """As GNU tar writes it: folders too, and zeros to the end of a block of 10,240."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for folder in sorted({name.rpartition("/")[0] for name in files} - {""}):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), mtime=0) if gz else buffer.getvalue()


def cifar(name: str, per_file: int = 3) -> tuple[dict[str, Images], Sequence[str]]:
    """Images of each split, and the files of train that they are spread over."""
    files = [f"data_batch_{i}" for i in range(1, 6)] if name == "cifar10" else ["train"]
    splits = {}
    for seed, (split, count) in enumerate({"train": per_file * len(files), "test": 4}.items()):
        numbers = np.random.default_rng(seed)
        labels = {"label": numbers.integers(0, 10 if name == "cifar10" else 100, count).tolist()}
        if name == "cifar100":
            labels = {"coarse_label": numbers.integers(0, 20, count).tolist(), **labels}
        splits[split] = Images(noise_images(count, 32, 32, 3, seed=seed), labels)
    return splits, files


def cifar_binary(name: str, splits: Mapping[str, Images], files: Sequence[str]) -> dict[str, bytes]:
    def records(part: Images) -> bytes:
        rows = zip(*part.labels.values(), strict=True)
        planes = (image.transpose(2, 0, 1).tobytes() for image in part.images)
        return b"".join(bytes(row) + image for row, image in zip(rows, planes, strict=True))

    test = "test_batch" if name == "cifar10" else "test"
    content = {f"{it}.bin": records(part) for it, part in _parts(splits["train"], files).items()}
    content[f"{test}.bin"] = records(splits["test"])
    if name == "cifar10":
        content["batches.meta.txt"] = "\n".join([*CIFAR10, "", ""]).encode()
        return {f"cifar-10-batches-bin/{it}": data for it, data in content.items()}
    content["coarse_label_names.txt"] = "\n".join([*COARSE, ""]).encode()
    content["fine_label_names.txt"] = "\n".join([*FINE, ""]).encode()
    return {f"cifar-100-binary/{it}": data for it, data in content.items()}


def cifar_python(name: str, splits: Mapping[str, Images], files: Sequence[str]) -> dict[str, bytes]:
    keys = {"cifar10": {"label": "labels"}}.get(
        name, {"label": "fine_labels", "coarse_label": "coarse_labels"}
    )

    def batch(part: Images) -> bytes:
        data = part.images.transpose(0, 3, 1, 2).reshape(len(part.images), -1)
        return pickle2(
            {
                "batch_label": "training batch 1 of 5",
                **{keys[kind]: values for kind, values in part.labels.items()},
                "data": data,
                "filenames": [f"image_{i}.png" for i in range(len(data))],
            }
        )

    content = {it: batch(part) for it, part in _parts(splits["train"], files).items()}
    if name == "cifar10":
        content["test_batch"] = batch(splits["test"])
        content["batches.meta"] = pickle2(
            {"num_cases_per_batch": 10000, "label_names": CIFAR10, "num_vis": 3072}
        )
        content["readme.html"] = b"<meta>"
        return {f"cifar-10-batches-py/{it}": data for it, data in content.items()}
    content["test"] = batch(splits["test"])
    content["meta"] = pickle2({"fine_label_names": FINE, "coarse_label_names": COARSE})
    return {f"cifar-100-python/{it}": data for it, data in content.items()}


def stl10() -> tuple[dict[str, Images], list[list[int]]]:
    """Images of each split, and the folds."""
    counts = {"train": 12, "test": 5, "unlabelled": 4}
    numbers = np.random.default_rng(0)
    splits = {
        split: Images(
            noise_images(count, 96, 96, 3, seed=seed),
            {
                "label": [-1] * count
                if split == "unlabelled"
                else numbers.integers(0, 10, count).tolist()
            },
        )
        for seed, (split, count) in enumerate(counts.items())
    }
    return splits, [numbers.permutation(12)[:5].tolist() for _ in range(10)]


def stl10_binary(splits: Mapping[str, Images], folds: Sequence[Sequence[int]]) -> dict[str, bytes]:
    content = {}
    for split, name in {"test": "test", "train": "train", "unlabelled": "unlabeled"}.items():
        part = splits[split]
        # Planes of columns: the second index of a plane is the row.
        content[f"{name}_X.bin"] = b"".join(
            image[:, column, channel].tobytes()
            for image in part.images
            for channel in range(3)
            for column in range(96)
        )
        if split != "unlabelled":
            content[f"{name}_y.bin"] = bytes(label + 1 for label in part.labels["label"])
    content["class_names.txt"] = "\n".join([*STL10, ""]).encode()
    content["fold_indices.txt"] = "".join(
        " ".join(map(str, fold)) + " \n" for fold in folds
    ).encode()
    return {f"stl10_binary/{it}": data for it, data in content.items()}


def jpeg(seed: int, height: int = 6, width: int = 5) -> bytes:
    return cv2.imencode(".jpg", noise_images(height, width, 3, seed=seed))[1].tobytes()


def imagenet_train(wnids: Sequence[str], per_class: int = 2) -> tuple[bytes, dict[str, bytes]]:
    """The archive, and the images in it by their names, in order."""
    images, archives = {}, {}
    for i, wnid in enumerate(wnids):
        of_class = {f"{wnid}_{100 + j}.JPEG": jpeg(10 * i + j) for j in range(per_class)}
        images |= of_class
        archives[f"{wnid}.tar"] = tar_bytes(of_class, gz=False)
    return tar_bytes(archives, gz=False), images


def imagenet_validation(numbers: Sequence[int]) -> tuple[bytes, dict[str, bytes]]:
    images = {f"ILSVRC2012_val_{number:08}.JPEG": jpeg(number) for number in numbers}
    return tar_bytes(images, gz=False), images


def voc(year: str, images: Sequence[str], sets: Mapping[str, Sequence[str]]) -> dict[str, bytes]:
    """The files of a VOCdevkit with these images and lists of images."""
    files = {}
    for i, name in enumerate(images):
        annotation = f"<annotation><filename>{name}.jpg</filename></annotation>\n"
        files[f"Annotations/{name}.xml"] = annotation.encode()
        files[f"JPEGImages/{name}.jpg"] = jpeg(i)
    for kind, listed in sets.items():
        files[f"ImageSets/Main/{kind}.txt"] = "".join(f"{it}\n" for it in listed).encode()
    return {f"VOCdevkit/VOC{year}/{it}": content for it, content in files.items()}


def pickle2(value: Any) -> bytes:
    """What cPickle of Python 2 with NumPy 1 writes, protocol 2: text is bytes there."""
    return b"\x80\x02" + _opcodes(value) + b"."


def _opcodes(value: Any) -> bytes:
    if isinstance(value, str):
        value = value.encode("latin-1")
    if isinstance(value, bytes):
        if len(value) < 256:
            return b"U" + struct.pack("<B", len(value)) + value
        return b"T" + struct.pack("<i", len(value)) + value
    if isinstance(value, int):
        return b"K" + struct.pack("<B", value) if value < 256 else b"M" + struct.pack("<H", value)
    if isinstance(value, list):
        return b"](" + b"".join(map(_opcodes, value)) + b"e"
    if isinstance(value, dict):
        pairs = b"".join(_opcodes(key) + _opcodes(item) for key, item in value.items())
        return b"}(" + pairs + b"u"
    assert isinstance(value, np.ndarray) and value.dtype == np.uint8
    shape = b"".join(map(_opcodes, value.shape)) + b"\x86"
    state = b"(K\x03U\x01|NNNJ" + b"\xff" * 4 + b"J" + b"\xff" * 4 + b"K\x00tb"
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R" + state
    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    return empty + b"(K\x01" + shape + dtype + b"\x89" + _opcodes(value.tobytes()) + b"tb"


def _parts(part: Images, files: Sequence[str]) -> dict[str, Images]:
    size = len(part.images) // len(files)
    return {
        file: Images(
            part.images[i * size : (i + 1) * size],
            {kind: values[i * size : (i + 1) * size] for kind, values in part.labels.items()},
        )
        for i, file in enumerate(files)
    }


def write(path: Path, content: bytes | Mapping[str, bytes]) -> str:
    """Write an archive, or the files of a .tar.gz, and return its path."""
    path.write_bytes(content if isinstance(content, bytes) else tar_bytes(content))
    return str(path)


def listing(folder: Path) -> list[str]:
    """Everything in a folder."""
    return sorted(str(it.relative_to(folder)) for it in folder.rglob("*"))
