"""What there is to train on: found without importing TFDS or reading an image."""

import json
import os
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any, NamedTuple

from symskip_jax.data.gcs import bucket_folder, is_bucket, read_infos
from symskip_jax.data.paths import local_path
from symskip_jax.errors import UserError

# The lists that there may be in a VOCdevkit.
VOC_SPLITS = ("train", "val", "trainval", "test")


@dataclass(frozen=True)
class Prepared:
    """A TFDS dataset in a folder, as its dataset_info.json has it.

    file_format: array_record if that is one of several.
    num_images: images of each split, by the split's name.
    """

    path: Path
    name: str
    config: str | None
    version: str
    file_format: str
    num_images: dict[str, int]

    @property
    def full_name(self) -> str:
        """The name it is opened by: tfds:NAME[/CONFIG]:VERSION."""
        return f"tfds:{self.name}{f'/{self.config}' if self.config else ''}:{self.version}"


class Listing(NamedTuple):
    """A line of `symskip data list`: the name to type, what it is, and where it lies."""

    name: str
    description: str
    where: str


def list_datasets(data_dir: str | None = None) -> list[Listing]:
    """Every dataset that can be named, those prepared and imported under data_dir one by one.

    data_dir None is TFDS's default.
    """
    folder = resolve_data_dir(data_dir)
    prepared = [Listing(it.full_name, _describe(it), str(it.path)) for it in find_prepared(folder)]
    return [
        Listing("digits", "1,797 handwritten digits, 8x8, grey, 10 classes", "comes along"),
        *prepared,
        *_list_devkits(folder),
        Listing(
            "tfds:NAME[/CONFIG][:VERSION]",
            "TensorFlow Datasets, prepared as ArrayRecord; "
            + (f"{len(prepared)} found" if prepared else "none found"),
            str(folder),
        ),
        Listing(
            "folder:PATH",
            "image files; labels.csv or sub-folders give classes; train/, test/, val/ are splits",
            "PATH",
        ),
        Listing(
            "npz:PATH",
            "arrays images, labels; or train_images, train_labels, test_images, test_labels",
            "PATH",
        ),
        Listing("voc:PATH", "PASCAL VOC: which of 20 classes an image shows", "PATH, a VOCdevkit"),
        Listing("voc_segmentation:PATH", "PASCAL VOC: masks of its classes", "PATH, a VOCdevkit"),
        Listing(
            "NAME + NAME",
            "the union of datasets; 0.7*NAME + 0.3*NAME mixes them; NAME@SPLIT takes another split",
            "where they are",
        ),
    ]


def resolve_data_dir(data_dir: str | None) -> Path:
    """The folder meant by a data_dir: None is TFDS_DATA_DIR, or else ~/tensorflow_datasets.

    Of gs://BUCKET/PATH it is an `etils.epath.Path`, which does what is needed here of a Path.

    Raises:
        UserError: it is on a bucket, and gcsfs is not installed.
    """
    folder = _named_dir(data_dir)
    return bucket_folder(folder) if is_bucket(folder) else local_path(folder)


def resolve_local_dir(data_dir: str | None) -> Path:
    """`resolve_data_dir`, of a folder to write into.

    Raises:
        UserError: it is on a bucket.
    """
    folder = _named_dir(data_dir)
    if not is_bucket(folder):
        return local_path(folder)
    raise UserError(
        f"{folder} is only read: choose another --data_dir, on this machine, and copy the dataset "
        "from there with `gcloud storage cp -r`"
    )


def find_prepared(data_dir: Path, name: str | None = None) -> list[Prepared]:
    """The TFDS datasets (of this name) in data_dir, by name, config and version.

    One whose dataset_info.json cannot be understood is left out.

    Raises:
        UserError: data_dir is on a bucket, and not there, or there is no access to it.
        ReadFailedError: the bucket did not answer.
    """
    if is_bucket(data_dir):
        texts = read_infos(data_dir, name)
    else:
        base = escape(name) if name else "*"
        patterns = (f"{base}/*/dataset_info.json", f"{base}/*/*/dataset_info.json")
        texts = {path: _read(path) for pattern in patterns for path in data_dir.glob(pattern)}
    found = [it for path, text in texts.items() if (it := _parse(path.parent, text, data_dir))]
    return sorted(found, key=lambda it: (it.name, it.config or "", _numbers(it.version)))


def _named_dir(data_dir: str | None) -> str:
    return data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _parse(folder: Path, info_text: bytes, data_dir: Path) -> Prepared | None:
    name, *config, version = folder.relative_to(data_dir).parts
    try:
        _numbers(version)
        info = json.loads(info_text)
        return Prepared(
            path=folder,
            name=name,
            config=config[0] if config else None,
            version=version,
            file_format=_file_format(info),
            num_images={
                split["name"]: sum(map(int, split.get("shardLengths", ())))
                for split in info.get("splits", ())
            },
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _file_format(info: dict[str, Any]) -> str:
    main = info.get("fileFormat", "tfrecord")
    # The name that the one we can read has among several.
    return "array_record" if "array_record" in info.get("alternativeFileFormats", ()) else main


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))


def _list_devkits(data_dir: Path) -> list[Listing]:
    """VOC as `symskip data import` leaves it."""
    if is_bucket(data_dir):
        return []
    return [
        Listing(f"voc:{sets.parent.parent}", _describe_lists(sets), str(sets.parent.parent))
        for sets in sorted(data_dir.glob("VOCdevkit/VOC20[0-9][0-9]/ImageSets/Main"))
    ]


def _describe_lists(sets: Path) -> str:
    lines = {split: _read(sets / f"{split}.txt").split() for split in VOC_SPLITS}
    counts = ", ".join(f"{split} {len(names):,}" for split, names in lines.items() if names)
    return counts or "no lists of images"


def _describe(prepared: Prepared) -> str:
    splits = ", ".join(f"{split} {count:,}" for split, count in prepared.num_images.items())
    if prepared.file_format == "array_record":
        return splits
    return f"{splits}; prepared as {prepared.file_format}, which cannot be read"
