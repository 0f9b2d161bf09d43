"""What the first bytes of an image file say, read without decoding it."""

import struct
from typing import NamedTuple

from symskip_jax.errors import BadImageError

# 16,384 x 16,384. The largest cameras stay below it, and an RGB image of it takes 0.8 GB.
MAX_PIXELS = 2**28

_EXIF = b"Exif\0\0"
_EXIF_ORIENTATION, _TIFF_WIDTH, _TIFF_HEIGHT = 274, 256, 257


class Header(NamedTuple):
    """A file's format, its size as it is stored, and the EXIF orientation, 1 to 8, to be applied.

    format: "jpeg", "png", "webp", "bmp" or "tiff".
    height_at: where the height stands in a JPEG whose rows are stored one after the other
        (baseline, grey or colour); None in all others.
    """

    format: str
    height: int
    width: int
    orientation: int
    height_at: int | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width once the orientation has been applied."""
        return (self.width, self.height) if self.orientation >= 5 else (self.height, self.width)


def read_header(content: bytes) -> Header:
    """Read the format and size of a JPEG, PNG, WebP, BMP or TIFF file.

    Raises:
        BadImageError: it is none of these, is cut short, or says that it has more than MAX_PIXELS;
            the message goes behind its name.
    """
    try:
        header = _read(content)
    except (struct.error, LookupError, ValueError) as error:
        raise unreadable(content) from error
    if header is None or header.height < 1 or header.width < 1:
        raise unreadable(content)
    if header.height * header.width > MAX_PIXELS:
        raise BadImageError(
            f"says that it is {header.width}x{header.height}, and images of more than "
            f"{MAX_PIXELS:,} pixels are not read: replace or remove it"
        )
    return header


def image_size(content: bytes) -> tuple[int, int]:
    """Height and width of an image file once decoded, EXIF orientation applied.

    Only the header is read: a file cut short after it has a size too.

    Raises:
        BadImageError: as `read_header`.
    """
    return read_header(content).size


def unreadable(content: bytes) -> BadImageError:
    """The error for a file that is not, or not wholly, an image."""
    return BadImageError(
        f"is cut short or is no image that can be decoded ({len(content)} bytes): "
        "replace or remove it"
    )


def _read(content: bytes) -> Header | None:
    if content.startswith(b"\xff\xd8"):
        return _read_jpeg(content)
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        width, height = struct.unpack_from(">II", content, 16)
        return Header("png", height, width, _find_orientation(content, b"eXIf", 8, ">I4s", 12))
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return _read_webp(content)
    if content.startswith(b"BM"):
        (old,) = struct.unpack_from("<I", content, 14)
        width, height = struct.unpack_from("<HH" if old == 12 else "<ii", content, 18)
        return Header("bmp", abs(height), width, 1)
    if content.startswith((b"II*\0", b"MM\0*")):
        tags = _read_tags(content)
        return Header("tiff", tags[_TIFF_HEIGHT], tags[_TIFF_WIDTH], _orientation(tags))
    return None


def _read_jpeg(content: bytes) -> Header | None:
    orientation, at = 1, 2
    while True:
        at = content.index(b"\xff", at)
        while content[at] == 0xFF:
            at += 1
        marker = content[at]
        at += 1
        if marker <= 0x01 or 0xD0 <= marker <= 0xD7:  # these have no length
            continue
        if marker in (0xD8, 0xD9, 0xDA):  # pixels or the end, and no size yet
            return None
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", content, at + 3)
            is_by_rows = marker == 0xC0 and content[at + 7] in (1, 3)
            return Header("jpeg", height, width, orientation, at + 3 if is_by_rows else None)
        (length,) = struct.unpack_from(">H", content, at)
        if marker == 0xE1 and content.startswith(_EXIF, at + 2) and orientation == 1:
            orientation = _exif_orientation(content[at + 2 : at + length])
        at += length


def _read_webp(content: bytes) -> Header:
    orientation = _find_orientation(content, b"EXIF", 12, "<4sI", 8)
    match content[12:16]:
        case b"VP8X":
            width = int.from_bytes(content[24:27], "little") + 1
            height = int.from_bytes(content[27:30], "little") + 1
        case b"VP8L":
            (bits,) = struct.unpack_from("<I", content, 21)
            width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case _:
            width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", content, 26))
    return Header("webp", height, width, orientation)


def _find_orientation(content: bytes, name: bytes, at: int, form: str, overhead: int) -> int:
    """Walk over chunks of (name, length, data), in whatever order, to the one with EXIF data."""
    while name in content and at + 8 <= len(content):
        fields = struct.unpack_from(form, content, at)
        length, found = fields if isinstance(fields[0], int) else fields[::-1]
        if found == name:
            return _exif_orientation(content[at + 8 : at + 8 + length])
        # WebP pads to even lengths; PNG has a checksum of four bytes.
        at += overhead + length + (length & 1 if overhead == 8 else 0)
    return 1


def _exif_orientation(exif: bytes) -> int:
    try:
        return _orientation(_read_tags(exif.removeprefix(_EXIF)))
    except (struct.error, LookupError):
        return 1


def _orientation(tags: dict[int, int]) -> int:
    orientation = tags.get(_EXIF_ORIENTATION, 1)
    return orientation if 1 <= orientation <= 8 else 1


def _read_tags(tiff: bytes) -> dict[int, int]:
    """Numbers of the first directory of TIFF or EXIF data, by their tag."""
    order = {b"II*\0": "<", b"MM\0*": ">"}[tiff[:4]]
    (start,) = struct.unpack_from(order + "I", tiff, 4)
    (count,) = struct.unpack_from(order + "H", tiff, start)
    tags = {}
    for at in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(order + "HH", tiff, at)
        if kind in (3, 4):  # 16 and 32 bits
            (value,) = struct.unpack_from(order + ("H" if kind == 3 else "I"), tiff, at + 8)
            tags.setdefault(tag, value)
    return tags
