"""TensorFlow Datasets prepared as ArrayRecord, read without TensorFlow."""

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from symskip_jax.data.base import UNLABELLED, Example, Source
from symskip_jax.data.catalog import Prepared, find_prepared, resolve_data_dir
from symskip_jax.errors import UserError

NAME = re.compile(r"(?P<name>\w+)(/(?P<config>[^:]+))?(:(?P<version>\d+\.\d+\.\d+))?")


class TfdsSource(Source):
    """A split of a prepared dataset that has an `image` and, perhaps, a `label`.

    Nothing is ever downloaded. Without a version the newest one prepared is read.

    Raises:
        UserError: the dataset is unknown, not prepared, or not prepared as ArrayRecord; the split
            is unknown; there is no uint8 image of 1 or 3 channels. The line says what to do.
    """

    def __init__(self, name: str, split: str, data_dir: str | None = None):
        prepared = _find(name, resolve_data_dir(data_dir))
        builder: Any = tfds.builder_from_directory(prepared.path)
        self.name = f"tfds:{name} {split}"
        self._records = _open_split(builder, name, split, prepared.num_images)
        features: dict[str, Any] = dict(builder.info.features.items())
        _check_image(features, self.name)
        label = features.get("label")
        self.class_names = (
            tuple(label.names) if isinstance(label, tfds.features.ClassLabel) else None
        )

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int, /) -> Example:
        return self._example(self._records[index])

    def __getitems__(self, indices: Sequence[int], /) -> list[Example]:
        return [self._example(record) for record in self._records.__getitems__(indices)]

    def _example(self, record: dict[str, Any]) -> Example:
        label = int(record["label"]) if self.class_names else UNLABELLED
        return Example(record["image"], label)


def _find(name: str, data_dir: Path) -> Prepared:
    match = NAME.fullmatch(name)
    if not match:
        raise UserError(f"'tfds:{name}' is not of the form tfds:NAME[/CONFIG][:VERSION]")
    found = find_prepared(data_dir, match["name"])
    if match["config"]:
        found = [it for it in found if it.config == match["config"]]
    if match["version"]:
        found = [it for it in found if it.version == tuple(map(int, match["version"].split(".")))]
    if not found:
        raise UserError(_not_found(name, match["name"], data_dir))
    configs = sorted({it.config for it in found if it.config})
    if len(configs) > 1:
        raise UserError(
            f"'tfds:{name}' is prepared with several configs in {data_dir}: name one of "
            + ", ".join(f"tfds:{match['name']}/{config}" for config in configs)
        )
    readable = [it for it in found if it.file_format == "array_record"]
    if not readable:
        raise UserError(
            f"'tfds:{name}' in {data_dir} is prepared as {found[-1].file_format}, and only "
            "array_record can be read: prepare it in another folder and name that as the data_dir; "
            + _how_to_prepare(name, "DIR")
        )
    return max(readable, key=lambda it: it.version)


def _not_found(name: str, base_name: str, data_dir: Path) -> str:
    others = [f"tfds:{it.path.relative_to(data_dir).as_posix()}" for it in find_prepared(data_dir)]
    same = [other for other in others if other.startswith(f"tfds:{base_name}/")]
    if same:
        return f"'tfds:{name}' is not in {data_dir}, which has {', '.join(same)}"
    known = tfds.list_builders(with_community_datasets=False)
    if base_name not in known:
        nearest = get_close_matches(base_name, known, n=3)
        hint = f"did you mean {' or '.join(f'tfds:{it}' for it in nearest)}? " if nearest else ""
        return (
            f"'tfds:{name}' is neither in {data_dir} nor known to TFDS: {hint}"
            "`symskip data list` shows what is there"
        )
    return f"'tfds:{name}' is not in {data_dir}: " + _how_to_prepare(name, str(data_dir))


def _how_to_prepare(name: str, data_dir: str) -> str:
    return (
        "prepare it with: pip install 'symskip-jax[prepare]' && "
        f"tfds build {name} --data_dir='{data_dir}' --file_format=array_record"
    )


def _open_split(builder: Any, name: str, split: str, splits: Iterable[str]) -> Any:
    try:
        records = builder.as_data_source(split=split)
        len(records)
    except ValueError as error:
        raise UserError(
            f"tfds:{name} has no images in a split '{split}': it has {', '.join(splits)}, and "
            f"slices such as '{next(iter(splits), 'train')}[:80%]'"
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
