"""Image files that are named one by one or by their folder, and PNG files written beside them."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, PngImagePlugin

from symskip_jax.data.decode import decode_image
from symskip_jax.data.listing import EXTENSIONS, list_images
from symskip_jax.errors import BadImageError, UserError

SIGNATURE = "symskip restore"


class Picture(NamedTuple):
    """An image file, and what it is called in the folder of results.

    path: of the file.
    name: relative, with "/" between parts: the file's name, or its path below the folder given.
    """

    path: Path
    name: str


def find_pictures(paths: Sequence[Path], out: Path) -> list[Picture]:
    """Lists image files, and those under folders at any depth, but for what lies in `out`.

    Raises:
        UserError: one does not exist, or a folder has no images.
    """
    found: list[Picture] = []
    for path in paths:
        if path.is_dir():
            below = [Picture(path / it, it) for it in list_images(path).paths]
            below = [it for it in below if out.resolve() not in it.path.resolve().parents]
            if not below:
                raise UserError(f"{path} has no images: looked for {', '.join(EXTENSIONS)}")
            found += below
        elif path.is_file():
            found.append(Picture(path, path.name))
        else:
            raise UserError(f"{path} does not exist; give image files, or folders of them")
    return found


def result_paths(pictures: Sequence[Picture], out: Path) -> list[Path]:
    """Returns where the PNG of each picture goes.

    Raises:
        UserError: two would go to one place, or one over a picture or a file that we did not write.
    """
    given = {picture.path.resolve() for picture in pictures}
    taken: dict[Path, Picture] = {}
    for picture in pictures:
        result = (out / picture.name).with_suffix(".png")
        if other := taken.get(result):
            raise UserError(
                f"{other.path} and {picture.path} would both become {result}; restore them apart, "
                "each with an --out of its own"
            )
        if result.resolve() in given:
            raise UserError(f"the result would go over {result} itself; choose another --out")
        if result.exists() and not _is_ours(result):
            raise UserError(
                f"{result} is there already and no result of `{SIGNATURE}`; choose another --out"
            )
        taken[result] = picture
    return list(taken)


def read_picture(picture: Picture, channels: int) -> np.ndarray:
    """Decodes a picture: uint8 [H, W, channels], as `decode_image` says.

    Raises:
        UserError: it cannot be read or decoded.
    """
    try:
        return decode_image(picture.path.read_bytes(), channels)
    except BadImageError as error:
        raise BadImageError(f"{picture.path} {error}") from error
    except OSError as error:
        raise UserError(f"{picture.path} cannot be read: {error.strerror}") from error


def encode_png(image_hwc: np.ndarray) -> bytes:
    """Encodes uint8 [H, W, 1 or 3] as a PNG that says who wrote it."""
    facts = PngImagePlugin.PngInfo()
    facts.add_text("Software", SIGNATURE)
    squeezed = image_hwc[..., 0] if image_hwc.shape[2] == 1 else image_hwc
    content = io.BytesIO()
    Image.fromarray(squeezed).save(content, "png", pnginfo=facts)
    return content.getvalue()


def _is_ours(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            return image.info.get("Software") == SIGNATURE
    except (OSError, ValueError):
        return False
