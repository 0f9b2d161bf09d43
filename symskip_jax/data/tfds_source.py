"""TensorFlow Datasets prepared as ArrayRecord, read without TensorFlow."""

import logging
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from symskip_jax.data.archives.known import KNOWN
from symskip_jax.data.base import UNLABELLED, Features, Source, Stored
from symskip_jax.data.catalog import Prepared, find_prepared, resolve_data_dir
from symskip_jax.data.subsets import find_subset, subset_names
from symskip_jax.errors import UserError

LOG = logging.getLogger(__name__)
ARRAY_RECORD = "array_record"
SCAN_CHUNK = 1000
NAME = re.compile(r"(?P<name>[^/:]+)(/(?P<config>[^:]+))?(:(?P<version>[\d.]+))?")


class TfdsSource(Source):
    """A split of a prepared dataset that has an `image` and, perhaps, a `label`.

    Nothing is ever downloaded. Without a version the newest one prepared is read. A split is also
    one of the subsets that `symskip_jax.data.subsets` knows, such as "fold_0" of STL-10.

    Raises:
        UserError: the dataset is unknown, not prepared, not prepared as ArrayRecord or not whole;
            the split is unknown; there is no uint8 image of 1 or 3 channels. The line says what to
            do.
    """

    def __init__(self, name: str, split: str, data_dir: str | None = None):
        self.name = f"tfds:{name} {split}"
        self._prepared = _find(name, resolve_data_dir(data_dir))
        with _expecting_whole(self._prepared):
            builder: Any = tfds.builder_from_directory(self._prepared.path, ARRAY_RECORD)
            features: dict[str, Any] = dict(builder.info.features.items())
        _check_image(features, f"tfds:{name}")
        label: Any = features.get("label")
        class_names = (
            tuple(label.names or ()) if isinstance(label, tfds.features.ClassLabel) else ()
        )
        kind = "class" if class_names else "none"
        self.features = Features(tuple(features["image"].shape), kind, class_names or None)

        def open_split(split: str) -> Any:
            return _open_split(builder, split, f"tfds:{name}", self._prepared)

        subset = find_subset(
            self._prepared, split, self.class_names, lambda whole: self._scan(open_split(whole))
        )
        self._records = open_split(subset.split if subset else split)
        self._indices = subset.indices if subset else None

    def __len__(self) -> int:
        return len(self._records) if self._indices is None else len(self._indices)

    def stored(self, index: int, /) -> Stored:
        """Read one record."""
        return self.stored_many([index])[0]

    def stored_many(self, indices: Sequence[int], /) -> list[Stored]:
        """Read many records in one call, which costs little more than one."""
        if self._indices is not None:
            indices = self._indices[np.asarray(indices)].tolist()
        with _expecting_whole(self._prepared):
            return [self._stored(record) for record in self._records.__getitems__(indices)]

    def _scan(self, records: Any) -> np.ndarray:
        """Read the label of every record, which takes reading its image too."""
        LOG.warning("%s: reading the labels of %d images, once", self.name, len(records))
        labels_n = np.empty(len(records), np.int64)
        for start in range(0, len(records), SCAN_CHUNK):
            chunk = range(start, min(start + SCAN_CHUNK, len(records)))
            with _expecting_whole(self._prepared):
                labels_n[start : chunk.stop] = [it["label"] for it in records.__getitems__(chunk)]
        return labels_n

    def _stored(self, record: dict[str, Any]) -> Stored:
        label = int(record["label"]) if self.class_names else UNLABELLED
        return Stored(record["image"], label)


def _find(name: str, data_dir: Path) -> Prepared:
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
        raise UserError(f"'tfds:{name}' is not in {data_dir}, which has {there}")
    if not found:
        raise UserError(_not_prepared(name, match["name"], data_dir))
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
        how = f"`{_how_to_prepare(name, data_dir)}`"
        if base_name in KNOWN:
            archives = " ".join(it.file_name for it in KNOWN[base_name])
            how = f"`symskip data import {base_name} ARCHIVE` ({archives}) or {how}"
        return f"'tfds:{name}' is not in {data_dir}: prepare it with {how}"
    nearest = [f"'tfds:{it}'" for it in get_close_matches(base_name.lower(), known, n=3)]
    hint = f"did you mean {' or '.join(nearest)}? " if nearest else ""
    return (
        f"'tfds:{name}' is neither in {data_dir} nor known to TFDS: {hint}"
        "`symskip data list` shows what is there"
    )


def _how_to_prepare(name: str, data_dir: Path) -> str:
    return f"symskip data prepare {name} --data_dir {shlex.quote(str(data_dir))}"


def _open_split(builder: Any, split: str, name: str, prepared: Prepared) -> Any:
    try:
        records = builder.as_data_source(
            split=split, decoders={"image": tfds.decode.SkipDecoding()}
        )
        # A slice that ends before it starts shows itself only here.
        len(records)
    except ValueError as error:
        splits = list(prepared.num_images)
        has = ", ".join([*splits, *subset_names(prepared)])
        raise UserError(
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
    """Answer what TFDS and ArrayRecord raise for a missing, short or damaged file.

    TypeError is among it: of some short files ArrayRecord gives empty records.
    """
    try:
        yield
    except (RuntimeError, ValueError, TypeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{prepared.full_name} in {prepared.path} is not whole: prepare or copy it again "
            f"({reason})"
        ) from error
