"""TensorFlow Datasets prepared as ArrayRecord, read without TensorFlow."""

import copy
import hashlib
import logging
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2

from symskip_jax.data.archives.known import KNOWN
from symskip_jax.data.base import UNLABELLED, Features, Source, Stored
from symskip_jax.data.catalog import Prepared, find_prepared, resolve_data_dir
from symskip_jax.data.gcs import answering, is_bucket
from symskip_jax.data.named_subsets import cache_labels, find_subset, kept_labels, subset_names
from symskip_jax.data.subset import Subset
from symskip_jax.data.voc import multi_label
from symskip_jax.errors import (
    BadImageError,
    MissingDataError,
    NoSuchSplitError,
    ReadFailedError,
    UserError,
)

ARRAY_RECORD = "array_record"
NAME = re.compile(r"(?P<name>[^/:]+)(/(?P<config>[^:]+))?(:(?P<version>[\d.]+))?")


def open_tfds(name: str, split: str, data_dir: str | None = None) -> Source:
    """Open a split of a prepared dataset, or one of its named subsets, such as "fold_0" of STL-10.

    Raises:
        UserError: as `TfdsSource`, or this copy of the data does not have the subset.
    """
    prepared = find_dataset(name, resolve_data_dir(data_dir))
    subset = find_subset(prepared, split, lambda whole: TfdsSource(name, whole, data_dir))
    if subset is None:
        return TfdsSource(name, split, data_dir)
    source = Subset(TfdsSource(name, subset.split, data_dir), subset.indices)
    source.name = f"tfds:{name} {split}"
    return source


# ArrayRecord reads many at once in threads that it starts for that, which is dear for so few.
FEW = 32

# What datasets call the name or the id of an image, a text, the first of them first.
NAME_FEATURES = ("id", "image_id", "file_name", "filename", "image/filename")

LARGE = 100_000  # images, of which the labels take long to read

log = logging.getLogger(__name__)

# What ArrayRecord says where the system failed and not the file. A file that is gone is among it,
# because so are those of a disk that is away for a moment.
MAY_PASS = re.compile(
    r"\b(open|fstat|lseek|p?read)\(\) failed|input/output error|stale|connection|timed out", re.I
)
ONE_RECORD = "chunk data hash mismatch"  # as TFDS writes them, each record is a chunk

T = TypeVar("T")


class TfdsSource(Source):
    """A split of a prepared dataset that has an `image` and, perhaps, a `label`.

    Where there are `labels` and `labels_no_difficult` instead, as in VOC, an image has several
    classes, -1 for those of `labels` alone.

    Nothing is ever downloaded. Without a version the newest one prepared is read.

    Raises:
        UserError: the dataset is unknown, not prepared, not prepared as ArrayRecord or not whole;
            the split is unknown; there is no uint8 image of 1 or 3 channels. The line says what to
            do.
        ReadFailedError: the data is on a bucket, which did not answer.
    """

    def __init__(self, name: str, split: str, data_dir: str | None = None):
        self.name = f"tfds:{name} {split}"
        self._split = split
        self._prepared = find_dataset(name, resolve_data_dir(data_dir))
        with _expecting_whole(self._prepared):
            builder: Any = tfds.builder_from_directory(self._prepared.path)
            features: dict[str, Any] = dict(builder.info.features.items())
        _check_image(features, f"tfds:{name}")
        texts = [it for it in NAME_FEATURES if isinstance(features.get(it), tfds.features.Text)]
        self._name_feature = texts[0] if texts else None
        self._records = _open_split(builder, split, f"tfds:{name}", self._prepared)
        class_names = _class_names(features.get("label"))
        kind = "class" if class_names else "none"
        if not class_names and "labels_no_difficult" in features:
            class_names = _class_names(getattr(features.get("labels"), "feature", None))
            kind = "classes" if class_names else "none"
        self.features = Features(tuple(features["image"].shape), kind, class_names or None)

    def __len__(self) -> int:
        return len(self._records)

    def stored(self, index: int, /) -> Stored:
        """Read one record."""
        return self.stored_many([index])[0]

    def stored_many(self, indices: Sequence[int], /) -> list[Stored]:
        """Read many records in one call, which costs little more than one."""
        if len(indices) >= FEW:
            with suppress(BadImageError):  # which one it is, reading them one by one tells
                records = self._read("a record", lambda: self._records.__getitems__(indices))
                return [self._stored(*pair) for pair in zip(indices, records, strict=True)]
        read_one = self._records.__getitem__
        return [
            self._stored(
                index, self._read(self.describe(index), lambda index=index: read_one(index))
            )
            for index in indices
        ]

    def names(self, indices: Sequence[int], /) -> list[str]:
        """Give what the records hold as the name or the id of an image; they are read for that."""
        name = self._name_feature
        if name is None:
            return super().names(indices)
        records = self._read("a record", lambda: self._records.__getitems__(list(indices)))
        texts = [_features(it)[name].bytes_list.value for it in records]
        return [
            text[0].decode(errors="backslashreplace") if text else str(index)
            for index, text in zip(indices, texts, strict=True)
        ]

    def labels(self) -> np.ndarray:
        """Give the labels of all images, int32 [N], from the list of them where one is kept.

        Where none is, all records are read; of a large split, once, and a list is kept.
        """
        with _expecting_whole(self._prepared):
            kept = kept_labels(self._prepared, self._split)
        if kept is not None:
            return kept
        if len(self) < LARGE or self._split not in self._prepared.num_images:
            return super().labels()
        log.warning("%s: reading the labels of %d images, once", self.name, len(self))
        labels_n = super().labels()
        cache_labels(self._prepared, self._split, labels_n)
        return labels_n

    def fingerprint(self) -> str:
        """Give 16 digits of the dataset's description and of the split; no record is read."""
        with _expecting_whole(self._prepared):
            info = (self._prepared.path / "dataset_info.json").read_bytes()
        return hashlib.sha256(info + self._split.encode()).hexdigest()[:16]

    def _read(self, what: str, read: Callable[[], T]) -> T:
        try:
            with _reading(what, self._prepared):
                return read()
        except UserError:
            # An ArrayRecord reader that failed once fails for ever; a copy opens new ones.
            self._records.data_source = copy.copy(self._records.data_source)
            raise

    def _stored(self, index: int, record: bytes) -> Stored:
        try:
            return self._parse(record)
        except (ValueError, LookupError) as error:
            raise _damaged(self.describe(index), self._prepared, error) from error

    def _parse(self, record: bytes) -> Stored:
        # Not by TFDS, which takes five times as long to make arrays of all the features.
        feature = _features(record)
        match self.features.label_kind:
            case "class":
                label = feature["label"].int64_list.value[0]
            case "classes":
                present, counted = (
                    set(feature[name].int64_list.value)
                    for name in ("labels", "labels_no_difficult")
                )
                label = multi_label(present, counted, len(self.class_names or ()))
            case _:
                label = UNLABELLED
        return Stored(feature["image"].bytes_list.value[0], label)


def _features(record: bytes) -> Any:
    """Those of a record, by name; those it lacks are empty."""
    try:
        return tf_example_pb2.Example.FromString(record).features.feature
    except Exception as error:  # protobuf has one of its own, which only it can name
        raise ValueError(str(error)) from error


def _class_names(label: Any) -> tuple[str, ...]:
    return tuple(label.names or ()) if isinstance(label, tfds.features.ClassLabel) else ()


def find_dataset(name: str, data_dir: Path) -> Prepared:
    """Find a dataset, NAME[/CONFIG][:VERSION], as ArrayRecord: the newest version of several.

    Raises:
        UserError: the name is malformed, unknown or stands for several datasets, or the dataset is
            not prepared, or not as ArrayRecord.
    """
    match = NAME.fullmatch(name)
    if not match:
        raise UserError(f"'tfds:{name}' is not of the form tfds:NAME[/CONFIG][:VERSION]")
    same_name = find_prepared(data_dir, match["name"])
    found = [
        it
        for it in same_name
        if match["config"] in (None, it.config) and match["version"] in (None, it.version)
    ]
    if not found and same_name:
        there = ", ".join(it.full_name for it in same_name)
        raise MissingDataError(f"'tfds:{name}' is not in {data_dir}, which has {there}")
    if not found:
        raise MissingDataError(_not_prepared(name, match["name"], data_dir))
    if len({it.config for it in found}) > 1:
        there = ", ".join(it.full_name for it in found)
        raise UserError(f"'tfds:{name}' has several configs in {data_dir}: name one of {there}")
    readable = [it for it in found if it.file_format == ARRAY_RECORD]
    if not readable:
        raise UserError(
            f"'tfds:{name}' is prepared as {found[-1].file_format} in {data_dir}, and only "
            f"{ARRAY_RECORD} can be read: convert it with `{_how_to_prepare(name, data_dir)}`"
        )
    return readable[-1]


def _not_prepared(name: str, base_name: str, data_dir: Path) -> str:
    known = tfds.list_builders(with_community_datasets=False)
    if base_name in known:
        how = f"prepare it with `{_how_to_prepare(name, data_dir)}`"
        if base_name in KNOWN:
            archives = " or ".join(it.file_name for it in KNOWN[base_name])
            how += f", or make it of {archives} with `symskip data import {base_name} ARCHIVE`"
        return f"'tfds:{name}' is not in {data_dir}: {how}"
    nearest = [f"'tfds:{it}'" for it in get_close_matches(base_name.lower(), known, n=3)]
    hint = f"did you mean {' or '.join(nearest)}? " if nearest else ""
    return (
        f"'tfds:{name}' is neither in {data_dir} nor known to TFDS: {hint}"
        "`symskip data list` shows what is there"
    )


def _how_to_prepare(name: str, data_dir: Path) -> str:
    if is_bucket(data_dir):
        copied = f"gcloud storage cp -r FOLDER/* {shlex.quote(str(data_dir))}"
        return f"symskip data prepare {name} --data_dir FOLDER && {copied}"
    return f"symskip data prepare {name} --data_dir {shlex.quote(str(data_dir))}"


def _open_split(builder: Any, split: str, name: str, prepared: Prepared) -> Any:
    try:
        records = builder.as_data_source(
            split=split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
        )
        # A slice that ends before it starts shows itself only here.
        len(records)
    except ValueError as error:
        splits = list(prepared.num_images)
        has = ", ".join([*splits, *subset_names(prepared)])
        raise NoSuchSplitError(
            f"{name} has no images in a split '{split}': it has {has}, and slices such as "
            f"'{splits[0]}[:80%]'"
        ) from error
    return records


def _check_image(features: dict[str, Any], name: str) -> None:
    if not isinstance(features.get("image"), tfds.features.Image):
        raise UserError(f"{name} has no image feature 'image', only {', '.join(sorted(features))}")
    num_channels, dtype = features["image"].shape[-1], np.dtype(features["image"].np_dtype)
    if dtype != np.uint8 or num_channels not in (1, 3):
        raise UserError(
            f"{name} has images of {num_channels} channels of {dtype.name}: "
            "only uint8 of 1 or 3 channels can be used"
        )


@contextmanager
def _expecting_whole(prepared: Prepared) -> Iterator[None]:
    """Answer what TFDS and ArrayRecord raise for a missing, short or damaged file."""
    try:
        with answering(prepared.path):
            yield
    except (RuntimeError, ValueError, TypeError, LookupError, OSError) as error:
        raise UserError(
            f"{prepared.full_name} in {prepared.path} is not whole: prepare or copy it again "
            f"({_in_line(error)})"
        ) from error


@contextmanager
def _reading(what: str, prepared: Prepared) -> Iterator[None]:
    """Answer what ArrayRecord raises of records: what may pass, one that is damaged, the rest."""
    with _expecting_whole(prepared):
        try:
            with answering(prepared.path):
                yield
        except (RuntimeError, OSError) as error:
            if isinstance(error, OSError) or MAY_PASS.search(str(error)):
                raise ReadFailedError(
                    f"{prepared.full_name} in {prepared.path} cannot be read: {_in_line(error)}"
                ) from error
            if ONE_RECORD in str(error):
                raise _damaged(what, prepared, error) from error
            raise


def _damaged(what: str, prepared: Prepared, error: Exception) -> BadImageError:
    return BadImageError(
        f"{what} is damaged, {prepared.path} is not whole: prepare or copy it again "
        f"({_in_line(error)})"
    )


def _in_line(error: Exception) -> str:
    return " ".join(str(error).split())
