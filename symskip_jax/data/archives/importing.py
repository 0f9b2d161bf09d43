"""From the archives that a dataset was published as to a dataset that can be opened."""

import os
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from symskip_jax.data.archives.checksums import verify
from symskip_jax.data.archives.cifar import import_cifar
from symskip_jax.data.archives.imagenet import import_imagenet
from symskip_jax.data.archives.stl10 import import_stl10
from symskip_jax.data.archives.voc import import_voc
from symskip_jax.data.archives.writer import dataset_folder
from symskip_jax.data.catalog import resolve_local_dir
from symskip_jax.data.paths import local_path
from symskip_jax.data.staging import staged
from symskip_jax.errors import UserError

_IMPORTERS: dict[str, Callable[..., None]] = {
    "cifar10": import_cifar,
    "cifar100": import_cifar,
    "stl10": import_stl10,
    "imagenet2012": import_imagenet,
    "voc2007": import_voc,
    "voc2012": import_voc,
}


class Imported(NamedTuple):
    """What an import made.

    name: by which it is opened.
    path: where it lies.
    is_new: False if it was there before, and nothing was done.
    """

    name: str
    path: Path
    is_new: bool


def import_archives(
    name: str,
    archives: Sequence[str],
    data_dir: str | None = None,
    *,
    any_checksum: bool = False,
) -> Imported:
    """Make a dataset of its original archives, without TensorFlow and without a network.

    CIFAR-10, CIFAR-100, STL-10 and ImageNet become ArrayRecord in the layout of TFDS, in the order
    of the archive, for `tfds:NAME`; VOC 2007 and 2012 become a VOCdevkit folder. The dataset
    appears in data_dir whole or not at all; one that is there already is left as it is.

    Args:
        name: cifar10, cifar100, stl10, imagenet2012, voc2007 or voc2012.
        archives: the files, as they were published.
        data_dir: as for `open_source`.
        any_checksum: take archives that were packed anew; what is in them is checked all the same.

    Raises:
        UserError: the name is unknown; an archive is missing, not the one that was published, cut
            short, damaged or dangerous; the disk is full.
    """
    if name not in _IMPORTERS:
        near = get_close_matches(name, _IMPORTERS, n=1)
        raise UserError(
            f"there is no archive of '{name}' to import: "
            + (f"did you mean '{near[0]}'? " if near else "")
            + f"there are {', '.join(_IMPORTERS)}"
        )
    target, opened_by = _target(name, resolve_local_dir(data_dir))
    if os.path.exists(target):
        return Imported(opened_by, target, is_new=False)
    paths = [local_path(archive) for archive in archives]
    for path in paths:
        if not path.is_file():
            raise UserError(f"{path} is not a file: name an archive of {name}")
    if not any_checksum:
        for path in paths:
            verify(name, path)
    with staged(target) as folder:
        # An archive that is known to be whole may end as it likes.
        _IMPORTERS[name](name, paths, folder, strict=any_checksum)
        folder.rename(target)
    return Imported(opened_by, target, is_new=True)


def _target(name: str, data_dir: Path) -> tuple[Path, str]:
    if name.startswith("voc"):
        return data_dir / "VOCdevkit" / name.upper(), f"voc:{data_dir / 'VOCdevkit' / name.upper()}"
    return data_dir / dataset_folder(name), f"tfds:{name}"
