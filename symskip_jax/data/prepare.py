"""TFDS datasets made readable: prepared, or converted from TFRecord. Needs TensorFlow."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from symskip_jax.data.archives.writer import Shard
from symskip_jax.data.catalog import Prepared, find_prepared, resolve_local_dir
from symskip_jax.data.staging import staged
from symskip_jax.data.tfds_source import ARRAY_RECORD, NAME
from symskip_jax.errors import UserError
from symskip_jax.extras import how_to_install

INFO_FILE = "dataset_info.json"
PARTIAL = "*.tmp.*"  # what TFDS calls the folder of a file that it is downloading


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
    folder = resolve_local_dir(data_dir)
    found = [
        it
        for it in find_prepared(folder, match["name"])
        if match["config"] in (None, it.config) and match["version"] in (None, it.version)
    ]
    if readable := [it for it in found if it.file_format == ARRAY_RECORD]:
        return readable[-1].path, "is there already: nothing to do"
    if not find_spec("tensorflow"):
        raise UserError(
            "preparing a dataset needs TensorFlow (the original archives of some need none: "
            f"`symskip data import --help`): {how_to_install('prepare')}"
        )
    if len({it.config for it in found}) > 1:
        there = ", ".join(it.full_name for it in found)
        raise UserError(f"'{name}' has several configs in {folder}: name one of {there}")
    known = tfds.list_builders(with_community_datasets=False)
    if not found and match["name"] not in known:
        near = get_close_matches(match["name"].lower(), known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else "TFDS's catalog lists what there is"
        raise UserError(f"'{name}' is not known to TFDS: {hint}")
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
        raise UserError(
            f"{prepared.full_name} in {prepared.path} is {prepared.file_format}, and only tfrecord "
            "can be converted: remove it and prepare it again"
        )
    with _explained(prepared.full_name, f"copy or prepare {prepared.path} again"):
        info: Any = tfds.builder_from_directory(prepared.path).info
        splits = {name: (it.filepaths, it.shard_lengths) for name, it in info.splits.items()}
    with staged(prepared.path / ARRAY_RECORD) as folder:
        for split, (files, lengths) in splits.items():
            for file, length in zip(files, lengths, strict=True):
                # A shard of the one becomes a shard of the other: TFDS has one list of lengths.
                name = Path(file).name.replace(f"{split}.tfrecord", f"{split}.{ARRAY_RECORD}")
                if name == Path(file).name:
                    raise UserError(f"{file} is not called as TFDS does: prepare it again")
                with Shard(folder / name) as shard:
                    for record in _read_shard(Path(file), length):
                        shard.write(record)
        description = json.loads((prepared.path / INFO_FILE).read_text())
        description["alternativeFileFormats"] = [ARRAY_RECORD]
        (folder / INFO_FILE).write_text(json.dumps(description, indent=2))
        files = sorted(folder.iterdir(), key=lambda it: it.name == INFO_FILE)
        for file in files:  # the description last: until then nobody looks at the others
            file.replace(prepared.path / file.name)


def _read_shard(file: Path, length: int) -> Iterator[bytes]:
    import tensorflow  # pyright: ignore[reportMissingModuleSource]  # an extra

    tf: Any = tensorflow
    count = 0
    with _explained(str(file), "copy or prepare it again"):
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
            yield record
            count += 1
    if count != length:
        raise UserError(f"{file} has {count} of {length} records: copy or prepare it again")


def _download(name: str, data_dir: Path) -> Path:
    downloads = data_dir / "downloads"
    before = set(downloads.rglob(PARTIAL))
    with _explained(f"tfds:{name}", "TFDS gave up"):
        builder: Any = tfds.builder(name, data_dir=str(data_dir), file_format=ARRAY_RECORD)
        folder = Path(builder.data_path)
        try:
            builder.download_and_prepare()
        except BaseException:
            # TFDS sweeps up what it has half prepared, but not what it has half downloaded.
            for path in set(downloads.rglob(PARTIAL)) - before:
                shutil.rmtree(path, ignore_errors=True)
            for path in (folder.parent, folder.parent.parent):
                with suppress(OSError):  # there is something in it
                    path.rmdir()
            raise
    return folder


@contextmanager
def _explained(what: str, mend: str) -> Iterator[None]:
    """Answer whatever TFDS and TensorFlow raise, which have no common class for it."""
    try:
        yield
    except Exception as error:
        if isinstance(error, UserError):
            raise
        reason = " ".join(str(error).split())[:400] or type(error).__name__
        raise UserError(f"{what} cannot be prepared: {mend} ({reason})") from error
