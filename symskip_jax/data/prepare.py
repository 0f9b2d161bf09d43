"""TFDS datasets made readable: prepared, or converted from TFRecord. Needs TensorFlow."""

import json
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from symskip_jax.data.archives.writer import write_records
from symskip_jax.data.catalog import Prepared, find_prepared, resolve_data_dir
from symskip_jax.data.staging import staged
from symskip_jax.data.tfds_source import ARRAY_RECORD, NAME
from symskip_jax.errors import UserError


def prepare(name: str, data_dir: str | None = None) -> tuple[Path, str]:
    """Make a TFDS dataset readable for `tfds:NAME`.

    One that is there as TFRecord gets ArrayRecord files beside those, in the same folder, and can
    be read both ways; of any other the original data is downloaded and prepared by TFDS.

    Args:
        name: NAME[/CONFIG][:VERSION].
        data_dir: as for `open_source`.

    Returns:
        the dataset's folder, and what was done.

    Raises:
        UserError: there is no TensorFlow, no such dataset, no way to download it, no room for it.
    """
    match = NAME.fullmatch(name.removeprefix("tfds:"))
    if not match:
        raise UserError(f"'{name}' is not of the form NAME[/CONFIG][:VERSION]")
    folder = resolve_data_dir(data_dir)
    found = [
        it
        for it in find_prepared(folder, match["name"])
        if match["config"] in (None, it.config) and match["version"] in (None, it.version)
    ]
    if readable := [it for it in found if it.file_format == ARRAY_RECORD]:
        return readable[-1].path, "is there already: nothing to do"
    if not find_spec("tensorflow"):
        raise UserError(
            "preparing a dataset needs TensorFlow: pip install 'symskip-jax[prepare]' (the "
            "original archives of some need none: `symskip data import --help`)"
        )
    if len({it.config for it in found}) > 1:
        there = ", ".join(it.full_name for it in found)
        raise UserError(f"'{name}' has several configs in {folder}: name one of {there}")
    if found:
        convert(found[-1])
        return found[-1].path, f"has {ARRAY_RECORD} beside {found[-1].file_format} now"
    return _download(match.string, folder), "was downloaded and prepared"


def convert(prepared: Prepared) -> None:
    """Write ArrayRecord files beside the TFRecord ones, for both to be read.

    Raises:
        UserError: a file is damaged, or the disk is full; then all is as before.
    """
    if prepared.file_format != "tfrecord":
        raise UserError(f"{prepared.full_name} is {prepared.file_format}: only tfrecord converts")
    info_file = prepared.path / "dataset_info.json"
    with _explained(f"{prepared.full_name} in {prepared.path}"):
        builder: Any = tfds.builder_from_directory(prepared.path)
    with staged(prepared.path / ARRAY_RECORD) as folder:
        info = json.loads(info_file.read_text())
        for split in info["splits"]:
            files = [Path(it) for it in builder.info.splits[split["name"]].filepaths]
            lengths = list(map(int, split["shardLengths"]))
            for number, (file, length) in enumerate(zip(files, lengths, strict=True)):
                _convert_file(file, length, folder)
        ...


def _download(name: str, data_dir: Path) -> Path:
    ...
