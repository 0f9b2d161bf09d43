"""PASCAL VOC 2007 and 2012 as published: tars of the folder VOCdevkit."""

from pathlib import Path

from symskip_jax.data.archives.tar import read_archive, write_member
from symskip_jax.errors import UserError

IMAGE_SETS = ("train", "val", "trainval", "test")


def import_voc(name: str, archives: list[Path], folder: Path, *, strict: bool) -> None:
    """Unpack the VOC2007 or VOC2012 of all archives into one empty folder.

    Raises:
        UserError: an archive is not of that year, or is damaged.
    """
    year = name.upper()
    for archive in archives:
        num_files = 0
        for member in read_archive(archive, strict=strict):
            parts = member.path.parts
            if parts[:2] == ("VOCdevkit", year) and len(parts) > 2:
                write_member(member, folder.joinpath(*parts[2:]), archive)
                num_files += 1
        if not num_files:
            raise UserError(f"{archive} has no VOCdevkit/{year}: it is not an archive of {name}")
    _check(folder, archives)


def _check(folder: Path, archives: list[Path]) -> None:
    where = " and ".join(map(str, archives))
    sets = [it for it in IMAGE_SETS if (folder / "ImageSets" / "Main" / f"{it}.txt").is_file()]
    if not sets:
        raise UserError(f"{where}: there is no list of images (ImageSets/Main/train.txt)")
    for name in sets:
        text = (folder / "ImageSets" / "Main" / f"{name}.txt").read_text("latin-1")
        for line in text.splitlines():
            image = f"JPEGImages/{line.strip()}.jpg"
            if line.strip() and not (folder / image).is_file():
                raise UserError(f"{where}: there is no '{image}', which {name}.txt lists")
