"""Datasets in the layout of TFDS, as ArrayRecord, written without TensorFlow."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from tensorflow_datasets.proto import tf_example_pb2

from symskip_jax.data.staging import cannot_write
from symskip_jax.data.subsets import Subset, write_labels, write_subsets
from symskip_jax.errors import UserError

MAX_SHARD_BYTES = 2**30

# By the names of features: bytes and text are stored as bytes, integers as int64.
Record = Mapping[str, bytes | str | int]


def dataset_folder(name: str) -> str:
    """NAME/VERSION, the folder that TFDS has for a dataset."""
    return tfds.builder(name, data_dir="/nonexistent").info.full_name


def write_dataset(
    folder: Path,
    name: str,
    splits: Iterable[tuple[str, Iterable[Record]]],
    class_names: Mapping[str, Sequence[str]] | None = None,
    subsets: Mapping[str, Subset] | None = None,
) -> None:
    """Write a dataset that TFDS knows, with its version and features, but in the order given.

    Args:
        folder: where to; it is there, and empty.
        name: of the dataset, as TFDS has it.
        splits: (name, records) of each; records are read once, one by one.
        class_names: of the features that TFDS gives names only when it prepares the data.
        subsets: to be kept with the data.

    Raises:
        UserError: the disk is full, or the folder cannot be written.
    """
    builder: Any = tfds.builder(name, data_dir=str(folder / "none"), file_format="array_record")
    for feature, names in (class_names or {}).items():
        builder.info.features[feature].names = list(names)
    infos = [_write_split(folder, name, split, records) for split, records in splits]
    builder.info.set_splits(tfds.core.splits.SplitDict(infos))
    builder.info.write_to_directory(folder)
    if subsets:
        write_subsets(folder, subsets)


def write_records(
    folder: Path, name: str, split: str, serialized: Iterable[bytes]
) -> tuple[list[int], int]:
    """Write serialised records in as many files as they need.

    Returns:
        records in each file, and bytes in all.

    Raises:
        UserError: the disk is full, or the folder cannot be written.
    """
    shards = _Shards(folder)
    try:
        for record in serialized:
            shards.write(record)
        shards.close()
    except RuntimeError as error:  # how ArrayRecord tells that the disk is full
        raise UserError(cannot_write(folder, error)) from error
    for number, part in enumerate(shards.parts):
        of = f"{number:05}-of-{len(shards.parts):05}"
        part.rename(folder / f"{name}-{split}.array_record-{of}")
    return shards.lengths, shards.num_bytes


class _Shards:
    def __init__(self, folder: Path):
        self.parts: list[Path] = []
        self.lengths: list[int] = []
        self.num_bytes = 0
        self._folder = folder
        self._writer: Any = None
        self._room = 0

    def write(self, record: bytes) -> None:
        if self._writer is None or self._room < len(record):
            self.close()
            self.parts.append(self._folder / f"part-{len(self.parts)}")
            self.lengths.append(0)
            self._room = MAX_SHARD_BYTES
            # A record can then be read without the others, as TFDS writes them too.
            self._writer = ArrayRecordWriter(str(self.parts[-1]), "group_size:1")
        self._writer.write(record)
        self._room -= len(record)
        self.num_bytes += len(record)
        self.lengths[-1] += 1

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def _write_split(folder: Path, name: str, split: str, records: Iterable[Record]) -> Any:
    labels: list[int] = []

    def serialized() -> Iterable[bytes]:
        for record in records:
            labels.append(int(record["label"]))
            yield _serialize(record)

    lengths, num_bytes = write_records(folder, name, split, serialized())
    write_labels(folder, split, np.array(labels))
    template = tfds.core.ShardedFileTemplate(
        data_dir=folder, dataset_name=name, split=split, filetype_suffix="array_record"
    )
    return tfds.core.SplitInfo(
        name=split, shard_lengths=lengths, num_bytes=num_bytes, filename_template=template
    )


def _serialize(record: Record) -> bytes:
    example = tf_example_pb2.Example()
    for name, value in record.items():
        feature = example.features.feature[name]
        if isinstance(value, int):
            feature.int64_list.value.append(value)
        else:
            content = value.encode() if isinstance(value, str) else value
            feature.bytes_list.value.append(content)
    return example.SerializeToString()
