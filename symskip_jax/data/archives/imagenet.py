"""ImageNet (ILSVRC 2012) as published: a tar of a tar for each class, and a tar of images."""

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import tensorflow_datasets as tfds

from symskip_jax.data.archives.tar import Member, read_archive, read_nested
from symskip_jax.data.archives.writer import Record, write_dataset
from symskip_jax.errors import UserError

CLASS_ARCHIVE = re.compile(r"(n\d{8})\.tar")
VALIDATION_IMAGE = re.compile(r"ILSVRC2012_val_(\d{8})\.JPEG")

# One of the training images is a PNG in spite of its name.
_STARTS = (b"\xff\xd8", b"\x89PNG")


def import_imagenet(name: str, archives: list[Path], folder: Path, *, strict: bool) -> None:
    """Write the training images, the validation images or both into an empty folder.

    Unlike TFDS, which writes 22 images in CMYK and the PNG anew, every file is kept as it is.

    Raises:
        UserError: an archive is not one of the two, or is damaged.
    """
    splits: dict[str, tuple[str, Iterator[Record]]] = {}
    for archive in archives:
        split, records = _open(name, archive, strict)
        if split in splits:
            raise UserError(f"{archive} has the {split} images, and so has another one")
        splits[split] = (split, records)
    write_dataset(folder, name, list(splits.values()))


def _open(name: str, archive: Path, strict: bool) -> tuple[str, Iterator[Record]]:
    with closing(read_archive(archive, strict=strict)) as members:
        first = next(members, None)
    if first and CLASS_ARCHIVE.fullmatch(first.path.name):
        return "train", _train_records(archive, strict)
    if first and VALIDATION_IMAGE.fullmatch(first.path.name):
        return "validation", _validation_records(archive, strict)
    raise UserError(
        f"{archive} is not an archive of {name}: it has neither the archives of classes "
        "(n01440764.tar) nor validation images (ILSVRC2012_val_00000001.JPEG)"
    )


def _train_records(archive: Path, strict: bool) -> Iterator[Record]:
    by_wnid = {wnid: i for i, wnid in enumerate(_lines("labels.txt"))}
    seen: set[str] = set()
    for member in read_archive(archive, strict=strict):
        match = CLASS_ARCHIVE.fullmatch(member.path.name)
        if not match or match[1] not in by_wnid or match[1] in seen:
            raise UserError(
                f"{archive} has '{member.path}', which is not a class of ImageNet or is there "
                "twice: it is not the original archive"
            )
        seen.add(match[1])
        for image in read_nested(member, archive, strict=strict):
            if not image.path.name.startswith(f"{match[1]}_"):
                raise UserError(f"'{image.path}' in {member.path} in {archive} is of another class")
            yield _record(archive, image, by_wnid[match[1]])


def _validation_records(archive: Path, strict: bool) -> Iterator[Record]:
    by_wnid = {wnid: i for i, wnid in enumerate(_lines("labels.txt"))}
    labels = [by_wnid[wnid] for wnid in _lines("validation_labels.txt")]
    seen: set[int] = set()
    for member in read_archive(archive, strict=strict):
        match = VALIDATION_IMAGE.fullmatch(member.path.name)
        number = int(match[1]) if match else 0
        if not 1 <= number <= len(labels) or number in seen:
            raise UserError(
                f"{archive} has '{member.path}', which is not one of the {len(labels):,} "
                "validation images or is there twice: it is not the original archive"
            )
        seen.add(number)
        yield _record(archive, member, labels[number - 1])


def _record(archive: Path, image: Member, label: int) -> Record:
    content = image.read()
    if not content.startswith(_STARTS):
        raise UserError(f"'{image.path}' in {archive} is no image")
    return {"file_name": image.path.name, "image": content, "label": label}


def _lines(file: str) -> list[str]:
    # TFDS's own lists: the order of the labels, and the classes of the validation images by number.
    return tfds.core.tfds_path(f"datasets/imagenet2012/{file}").read_text().split()
