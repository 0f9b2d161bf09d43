"""What is there to train on: prepared TFDS datasets, found without importing TFDS."""

import json
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Prepared:
    """A TFDS dataset in a folder: what its dataset_info.json says.

    num_images: images of each split, by the split's name.
    """

    path: Path
    name: str
    config: str | None
    version: tuple[int, ...]
    file_format: str
    num_images: dict[str, int]


def default_data_dir() -> Path:
    """TFDS's own default: TFDS_DATA_DIR, or else ~/tensorflow_datasets."""
    return Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()


def resolve_data_dir(data_dir: str | None) -> Path:
    """The folder meant by a data_dir that may be None (the default) or start with ~."""
    return Path(data_dir).expanduser() if data_dir else default_data_dir()


def find_prepared(data_dir: Path, name: str = "*") -> list[Prepared]:
    """Every TFDS dataset under data_dir, sorted; one that cannot be read is left out."""
    infos = [
        *data_dir.glob(f"{name}/*/dataset_info.json"),
        *data_dir.glob(f"{name}/*/*/dataset_info.json"),
    ]
    found = [_read_info(info, data_dir) for info in infos]
    return sorted(
        (prepared for prepared in found if prepared),
        key=lambda it: (it.name, it.config or "", it.version),
    )


def _read_info(path: Path, data_dir: Path) -> Prepared | None:
    name, *configs, version = path.parent.relative_to(data_dir).parts
    try:
        info = json.loads(path.read_text())
        return Prepared(
            path=path.parent,
            name=name,
            config=configs[0] if configs else None,
            version=tuple(int(part) for part in version.split(".")),
            file_format=info.get("fileFormat", "tfrecord"),
            num_images={
                split["name"]: sum(map(int, split.get("shardLengths", ())))
                for split in info.get("splits", ())
            },
        )
    except (ValueError, TypeError, KeyError, AttributeError, OSError):
        return None
