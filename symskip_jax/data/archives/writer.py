"""Datasets in the layout of TFDS, as ArrayRecord, written without TensorFlow."""

import errno
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from tensorflow_datasets.proto import tf_example_pb2

from symskip_jax.data.named_subsets import NamedSubset, write_labels, write_subsets

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
    subsets: Mapping[str, NamedSubset] | None = None,
) -> None:
    """Write a dataset that TFDS knows, with its version and features, but in the order given.

    Args:
        folder: where to; it is there, and empty.
        name: of the dataset, as TFDS has it.
        splits: (name, records) of each; records are read once, one by one.
        class_names: of the features that TFDS gives names only when it prepares the data.
        subsets: to be kept with the data.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    builder: Any = tfds.builder(name, data_dir=str(folder / "none"), file_format="array_record")
    for feature, names in (class_names or {}).items():
        builder.info.features[feature].names = list(names)
    infos = [_write_split(folder, name, split, records) for split, records in splits]
    builder.info.set_splits(tfds.core.splits.SplitDict(infos))
    builder.info.write_to_directory(folder)
    if subsets:
        write_subsets(folder, subsets)


class Shard:
    """A file of records.

    num_records, num_bytes: written so far.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """

    def __init__(self, path: Path):
        self.path = path
        self.num_records = self.num_bytes = 0
        # A record can then be read without the others; TFDS writes them so too.
        self._writer = ArrayRecordWriter(str(path), "group_size:1")

    def __enter__(self) -> "Shard":
        return self

    def __exit__(self, *_: object) -> None:
        with self._explained():
            self._writer.close()

    def write(self, record: bytes) -> None:
        """Add a serialised record."""
        with self._explained():
            self._writer.write(record)
        self.num_records += 1
        self.num_bytes += len(record)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:  # how ArrayRecord says that the disk is full
            reason = str(error).split(";")[0].rpartition(": ")[2]
            raise OSError(errno.EIO, reason) from error


def _write_split(folder: Path, name: str, split: str, records: Iterable[Record]) -> Any:
    shards: list[Shard] = []
    labels: list[int] = []
    waiting = iter(records)
    record = next(waiting, None)
    while record is not None or not shards:
        with Shard(folder / f"part-{len(shards)}") as shard:
            shards.append(shard)
            while record is not None and shard.num_bytes < MAX_SHARD_BYTES:
                shard.write(_serialize(record))
                labels.append(int(record["label"]))
                record = next(waiting, None)
    for number, shard in enumerate(shards):
        of = f"{number:05}-of-{len(shards):05}"
        shard.path.rename(folder / f"{name}-{split}.array_record-{of}")
    write_labels(folder, split, np.array(labels))
    return tfds.core.SplitInfo(
        name=split,
        shard_lengths=[shard.num_records for shard in shards],
        num_bytes=sum(shard.num_bytes for shard in shards),
        filename_template=tfds.core.ShardedFileTemplate(
            data_dir=folder, dataset_name=name, split=split, filetype_suffix="array_record"
        ),
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
