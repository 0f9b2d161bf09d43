"""The same photographs twice as a TFDS dataset: as ArrayRecord and as the TFRecord of tf.data."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from tensorflow_datasets.proto import tf_example_pb2

from symskip_jax.data.decode import image_size
from symskip_jax.errors import UserError

NAME, VERSION, SPLIT = "photographs", "1.0.0", "train"
SIZE = (375, 500)  # H, W
SHARDS = 4


def find_photographs(folder: Path) -> list[Path]:
    """List the JPEGs of SIZE in a folder; they are used byte by byte as they are.

    Raises:
        UserError: there are none.
    """
    files = sorted(it for it in folder.rglob("*") if it.suffix.lower() in (".jpg", ".jpeg"))
    found = [it for it in files if image_size(it.read_bytes()) == SIZE]
    if not found:
        raise UserError(f"none of the {len(files)} JPEGs in {folder} is {SIZE[1]}x{SIZE[0]}")
    return found


def write_datasets(files: list[Path], records: int, cache: Path, formats: list[str]) -> Path:
    """Write what is not there yet, the photographs over and over until there are enough records.

    Args:
        files: the photographs.
        records: of each dataset.
        cache: folder for datasets of any photographs.
        formats: of "array_record" and "tfrecord"; the latter needs TensorFlow.

    Returns:
        Folder in which each format has a data_dir of its own, under its name.
    """
    contents = [it.read_bytes() for it in files]
    digest = hashlib.sha256(b"".join(hashlib.sha256(it).digest() for it in contents)).hexdigest()
    root = cache / f"{digest[:16]}_{records}"
    for file_format in formats:
        if not (root / file_format).exists():
            half_made = root / f"{file_format}.part"
            shutil.rmtree(half_made, ignore_errors=True)
            _write(half_made / NAME / VERSION, contents, records, file_format)
            half_made.rename(root / file_format)
    return root


def _write(folder: Path, contents: list[bytes], records: int, file_format: str) -> None:
    folder.mkdir(parents=True)
    features = {
        "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
        "label": tfds.features.ClassLabel(num_classes=2),
    }
    tfds.features.FeaturesDict(features).save_config(folder)
    bounds = [records * k // SHARDS for k in range(SHARDS + 1)]
    for k, (start, end) in enumerate(zip(bounds, bounds[1:], strict=False)):
        path = folder / f"{NAME}-{SPLIT}.{file_format}-{k:05}-of-{SHARDS:05}"
        writer = _open(path, file_format)
        for example in _examples(contents, start, end):
            writer.write(example)
        writer.close()
    shards = [str(b - a) for a, b in zip(bounds, bounds[1:], strict=False)]
    split = {
        "name": SPLIT,
        "shardLengths": shards,
        "numBytes": str(sum(it.stat().st_size for it in folder.iterdir())),
        "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
    }
    info = {"name": NAME, "version": VERSION, "fileFormat": file_format, "splits": [split]}
    (folder / "dataset_info.json").write_text(json.dumps(info))


def _open(path: Path, file_format: str) -> Any:
    if file_format == "array_record":
        return ArrayRecordWriter(str(path), "group_size:1")  # as TFDS writes it
    import tensorflow as tf

    return tf.io.TFRecordWriter(str(path))


def _examples(contents: list[bytes], start: int, end: int) -> Iterator[bytes]:
    for number in range(start, end):
        example = tf_example_pb2.Example()
        content = contents[number % len(contents)]
        example.features.feature["image"].bytes_list.value.append(content)
        example.features.feature["label"].int64_list.value.append(number % 2)
        yield example.SerializeToString()
