"""From the bytes of an image file to pixels."""

from contextlib import suppress

import cv2
import numpy as np
import simplejpeg

from symskip_jax.data.header import Header, image_size, read_header, unreadable
from symskip_jax.errors import BadImageError

__all__ = ["decode_image", "decode_rows", "image_size"]

# "Grayscale" stands for no colour flag at all; the one for RGB is added to it.
_REDUCED = {
    1: cv2.IMREAD_GRAYSCALE,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}


def decode_image(content: bytes, channels: int = 3, reduction: int = 1) -> np.ndarray:
    """Decode a JPEG, PNG, WebP, BMP or TIFF file.

    Grey becomes RGB where `channels` is 3, and RGB becomes its luma (ITU-R 601) where it is 1.
    Palettes, CMYK and YCCK become RGB, without colour profiles. What has an alpha channel is laid
    over white (in BMP and in grey TIFF, alpha is ignored). Of 16 bits the upper 8 are taken; other
    depths are refused. Of several frames or pages the first is taken. EXIF orientation is applied.

    Args:
        content: the bytes of the file.
        channels: 1 for grey, 3 for RGB.
        reduction: 1, 2, 4 or 8. The image is made so many times smaller: a JPEG as it is decoded,
            which takes less time, other formats by averaging afterwards.

    Returns:
        uint8 [ceil(H / reduction), ceil(W / reduction), channels], where `image_size` is (H, W).

    Raises:
        BadImageError: it is cut short, cannot be decoded, is larger than `header.MAX_PIXELS`, or
            its pixels are not of 8 or 16 bits; the message goes behind its name.
    """
    header = read_header(content)
    if header.format == "png" and not _has_whole_chunks(content):
        raise unreadable(content)
    if header.format == "jpeg" or (reduction == 1 and _is_plain_png(content)):
        flag = _REDUCED[reduction] | (cv2.IMREAD_COLOR_RGB if channels == 3 else 0)
        image = _imdecode(content, flag | cv2.IMREAD_IGNORE_ORIENTATION)
    else:
        image = _to_channels(_to_8_bits(_imdecode(content, cv2.IMREAD_UNCHANGED), header), channels)
        if reduction != 1:
            height, width = (-(-side // reduction) for side in image.shape[:2])
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    if header.format != "tiff":  # OpenCV has turned TIFF already, whatever the flags
        image = _turn(image, header.orientation)
    if image.shape[:2] != tuple(-(-side // reduction) for side in header.size):
        raise unreadable(content)
    return image if channels == 3 else image[..., None]


def _has_whole_chunks(content: bytes) -> bool:
    """Whether the chunks of a PNG are all there; OpenCV takes memory for what a length says."""
    at = 8
    while at + 12 <= len(content):
        if content.startswith(b"IEND", at + 4):
            return True
        at += 12 + int.from_bytes(content[at : at + 4])
    return False


def _is_plain_png(content: bytes) -> bool:
    """Whether it has 8 bits, grey or RGB, and no alpha."""
    is_png = content.startswith(b"\x89PNG")
    return is_png and content[24] == 8 and content[25] in (0, 2) and b"tRNS" not in content


def decode_rows(content: bytes, channels: int, reduction: int, rows: int) -> np.ndarray:
    """Decode an image file down to some row at least, which for most JPEGs spares the rest.

    What is below is then not looked at, so that damage to it is not noticed.

    Args:
        content: as of `decode_image`, and so are channels and reduction.
        channels: 1 or 3.
        reduction: 1, 2, 4 or 8.
        rows: how many are needed, before the reduction.

    Returns:
        uint8 [h, W', channels], the upper part of what `decode_image` returns, or all of it.

    Raises:
        BadImageError: as `decode_image`.
    """
    header = read_header(content)
    # One more row, as chroma is interpolated between rows, and whole blocks of 16.
    height = -(-(rows + 1) // 16) * 16
    if header.height_at is None or header.orientation != 1 or height >= header.height:
        return decode_image(content, channels, reduction)
    # The decoder stops at the height that the header gives: a fifth less time for crops of 225 out
    # of 375 rows. OpenCV would complain on the terminal about what is left over.
    shortened = bytearray(content)
    shortened[header.height_at : header.height_at + 2] = height.to_bytes(2, "big")
    size = -(-height // reduction), -(-header.width // reduction)
    image = np.empty((*size, channels), np.uint8)
    colours = "RGB" if channels == 3 else "GRAY"
    try:
        simplejpeg.decode_jpeg(
            shortened, colours, True, min_height=size[0], min_width=size[1], buffer=image
        )
    except ValueError as error:
        # Of several complaints the first is raised, so that damage to these rows is not missed.
        if not str(error).endswith("extraneous bytes before marker 0xd9"):
            return decode_image(content, channels, reduction)
    return image


def _imdecode(content: bytes, flag: int) -> np.ndarray:
    # From memory, not by imread, because that fills the missing part of a JPEG with grey and says
    # nothing. cv2.error: a size that OpenCV does not believe.
    with suppress(cv2.error):
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flag)
        if image is not None:
            return image
    raise unreadable(content)


def _to_8_bits(image: np.ndarray, header: Header) -> np.ndarray:
    """uint8 [H, W] or BGR [H, W, 3], without alpha."""
    if image.dtype not in (np.uint8, np.uint16):
        raise BadImageError(
            f"has pixels of {image.dtype.name}, and only 8 and 16 bits can be read: convert it"
        )
    # libtiff has multiplied alpha of 8 bits into the colours.
    is_premultiplied = header.format == "tiff" and image.dtype == np.uint8
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    if image.ndim == 2 or image.shape[2] == 3:
        return image
    colour, alpha = image[..., :3].astype(np.uint16), image[..., 3:].astype(np.uint16)
    if is_premultiplied:
        return np.minimum(colour + (255 - alpha), 255).astype(np.uint8)
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _to_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """From grey or BGR to RGB [H, W, 3] or grey [H, W]."""
    if channels == 3:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB if image.ndim == 2 else cv2.COLOR_BGR2RGB)
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)


def _turn(image: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an EXIF orientation."""
    if orientation == 1:
        return image
    if orientation >= 5:
        image = image.swapaxes(0, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(image[::rows, ::columns])
