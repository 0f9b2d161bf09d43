"""Decoding, against Pillow."""

import io
import resource
import struct
import warnings
import zlib

import cv2
import numpy as np
import pytest
from data_helpers import noise_images, user_error
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from symskip_jax.data.decode import decode_image, decode_rows, image_size
from symskip_jax.errors import BadImageError

HEIGHT, WIDTH = 24, 32
RGBA = Image.fromarray(cv2.resize(noise_images(4, 4, 4), (WIDTH, HEIGHT)))
RGB, GREY = Image.fromarray(np.asarray(RGBA)[..., :3].copy()), RGBA.convert("L")
PALETTE, CMYK = RGB.quantize(16), RGB.convert("CMYK")


def save(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def save_16_bits(extension: str, image: Image.Image) -> bytes:
    """Both bytes of a pixel differ, so that the wrong one would be noticed."""
    pixels = np.asarray(image).astype(np.uint16)
    return cv2.imencode(extension, pixels * 256 + (pixels ^ 0x5A))[1].tobytes()


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(bits: int, colour_type: int, rows: np.ndarray, *, interlaced: bool = False) -> bytes:
    """A PNG that no encoder at hand writes."""
    header = struct.pack(
        ">IIBBBBB", rows.shape[1], rows.shape[0], bits, colour_type, 0, 0, interlaced
    )
    passes = [(0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4)]
    passes += [(2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1)]
    parts = [rows[a::b, c::d] for a, b, c, d in passes] if interlaced else [rows]
    lines = [b"\0" + line.tobytes() for part in parts if part.size for line in part]
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"".join(lines))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def without_adobe(jpeg: bytes, transform: int | None = None) -> bytes:
    """The JPEG without its Adobe marker, or with another transform in it (2: YCCK)."""
    at = jpeg.index(b"\xff\xee\x00\x0eAdobe")
    if transform is None:
        return jpeg[:at] + jpeg[at + 16 :]
    return jpeg[: at + 15] + bytes([transform]) + jpeg[at + 16 :]


FRAMES = {"save_all": True, "append_images": [ImageOps.invert(RGB)]}
LOSSY = {
    "jpeg": save(RGB, "JPEG"),
    "jpeg, fine": save(RGB, "JPEG", subsampling=0, quality=95),
    "jpeg, progressive": save(RGB, "JPEG", progressive=True),
    "jpeg, grey": save(GREY, "JPEG"),
    "jpeg, CMYK as Adobe inverts it": save(CMYK, "JPEG"),
    "jpeg, CMYK": without_adobe(save(CMYK, "JPEG")),
    "jpeg, YCCK": without_adobe(save(CMYK, "JPEG"), 2),
    "tiff, jpeg": save(RGB, "TIFF", compression="jpeg"),
    "webp": save(RGB, "WEBP"),
    "webp, alpha": save(RGBA, "WEBP"),
}
EXACT = {
    "png": save(RGB, "PNG"),
    "png, grey": save(GREY, "PNG"),
    "png, 1 bit": save(GREY.convert("1"), "PNG"),
    "png, palette": save(PALETTE, "PNG"),
    "png, palette with a transparent colour": save(PALETTE, "PNG", transparency=3),
    "png, alpha": save(RGBA, "PNG"),
    "png, grey with alpha": save(RGBA.convert("LA"), "PNG"),
    "png, 16 bits grey": save_16_bits(".png", GREY),
    "png, 16 bits": save_16_bits(".png", RGB),
    "png, 16 bits alpha": save_16_bits(".png", RGBA),
    "png, 16 bits grey with alpha": png(16, 4, noise_images(HEIGHT, WIDTH, 4)),
    "png, interlaced": png(8, 2, np.asarray(RGB), interlaced=True),
    "png, animated": save(RGB, "PNG", **FRAMES),
    "webp, lossless": save(RGB, "WEBP", lossless=True),
    "webp, lossless alpha": save(RGBA, "WEBP", lossless=True),
    "webp, animated": save(RGB, "WEBP", lossless=True, **FRAMES),
    "bmp": save(RGB, "BMP"),
    "bmp, grey": save(GREY, "BMP"),
    "bmp, palette": save(PALETTE, "BMP"),
    "tiff": save(RGB, "TIFF"),
    "tiff, lzw": save(RGB, "TIFF", compression="tiff_lzw"),
    "tiff, deflate": save(RGB, "TIFF", compression="tiff_adobe_deflate"),
    "tiff, packbits": save(RGB, "TIFF", compression="packbits"),
    "tiff, fax": save(GREY.convert("1"), "TIFF", compression="group4"),
    "tiff, grey": save(GREY, "TIFF"),
    "tiff, palette": save(PALETTE, "TIFF"),
    "tiff, alpha": save(RGBA, "TIFF"),
    "tiff, 16 bits grey": save_16_bits(".tiff", GREY),
    "tiff, 16 bits": save_16_bits(".tiff", RGB),
    "tiff, 16 bits alpha": save_16_bits(".tiff", RGBA),
    "tiff, pages": save(RGB, "TIFF", **FRAMES),
    "tiff, CMYK": save(CMYK, "TIFF"),
}
EVERY = LOSSY | EXACT


def as_pillow_sees_it(content: bytes, channels: int) -> np.ndarray:
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    pixels = np.asarray(image.convert("RGB").convert("L" if channels == 1 else "RGB"))
    return pixels.reshape(*pixels.shape[:2], channels)


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("kind", EVERY)
def test_pixels_are_those_that_pillow_sees(kind, channels):
    content = EVERY[kind]
    image = decode_image(content, channels)
    expected = as_pillow_sees_it(content, channels)
    assert image.dtype == np.uint8 and image.flags.c_contiguous
    assert image.shape == expected.shape == (*image_size(content), channels)
    # Decoders of lossy formats round differently, and so do formulas for luma, alpha and CMYK.
    difference = np.abs(image.astype(int) - expected)
    assert difference.max() <= (4 if kind in LOSSY else 2)
    rounds = channels == 1 or "alpha" in kind or "CMYK" in kind
    assert kind in LOSSY or rounds or difference.max() == 0


def test_alpha_of_grey_tiff_and_of_bmp_is_ignored():
    grey = decode_image(save(RGBA.convert("LA"), "TIFF"), 1)[..., 0]
    np.testing.assert_array_equal(grey, np.asarray(RGBA.convert("LA"))[..., 0])
    np.testing.assert_array_equal(decode_image(save(RGBA, "BMP")), np.asarray(RGBA)[..., :3])


@pytest.mark.parametrize("reduction", [1, 2, 8])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [*range(10), 6000])
def test_every_exif_orientation_is_applied(kind, orientation, reduction):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = save(RGB, kind, exif=exif, quality=95)
    expected = as_pillow_sees_it(content, 3)
    assert image_size(content) == expected.shape[:2]
    image = decode_image(content, 3, reduction)
    small = Image.fromarray(expected).reduce(reduction)
    assert image.shape[1::-1] == small.size
    assert np.abs(image.astype(int) - np.asarray(small)).mean() < (1 if reduction == 1 else 6)


def test_orientation_is_found_where_other_segments_and_byte_orders_are():
    def marked(order: str) -> bytes:
        magic = {"<": b"II*\0", ">": b"MM\0*"}[order]
        entry = struct.pack(order + "HHHIHHI", 1, 274, 3, 1, 6, 0, 0)
        exif = b"Exif\0\0" + magic + struct.pack(order + "I", 8) + entry
        adobe = b"\xff\xe1" + struct.pack(">H", 31) + b"http://ns.adobe.com/xap/1.0/\0"
        return adobe + b"\xff\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif

    plain = EVERY["jpeg"]
    for order in "<>":
        content = plain[:2] + marked(order) + plain[2:]
        assert image_size(content) == (WIDTH, HEIGHT)
        difference = decode_image(content).astype(int) - as_pillow_sees_it(content, 3)
        assert np.abs(difference).max() <= 4


@pytest.mark.parametrize("reduction", [2, 4, 8])
@pytest.mark.parametrize("size", [(1, 1), (8, 9), (17, 3), (64, 65)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_reduced_sizes_are_rounded_up(kind, size, reduction):
    content = save(RGB.resize(size), kind)
    for channels in (1, 3):
        image = decode_image(content, channels, reduction)
        assert image.shape == (-(-size[1] // reduction), -(-size[0] // reduction), channels)


@pytest.mark.parametrize("kind", EVERY)
def test_a_file_cut_short_is_refused(kind):
    content, whole = EVERY[kind], decode_image(EVERY[kind])
    for end in {*range(0, len(content), 17), *range(max(0, len(content) - 24), len(content))}:
        for reduction in (1, 8) if "jpeg" in kind else (1,):
            try:
                image = decode_image(content[:end], 3, reduction)
            except BadImageError:
                continue
            # What was cut off was no part of the picture: an end mark, another page.
            assert reduction == 8 or np.array_equal(image, whole)
            assert end > len(content) - 5 or kind in ("tiff, pages", "png, animated")


@pytest.mark.parametrize("kind", EVERY)
def test_size_needs_no_more_than_the_header(kind):
    start = len(EVERY[kind]) if "tiff" in kind else 700
    assert image_size(EVERY[kind][:start]) == (HEIGHT, WIDTH)


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"RIFF1234WEBP", b"BM", b"II*\0", b"no picture"],
)
def test_what_is_no_image_is_refused(content):
    for call in (image_size, decode_image):
        assert "cut short or is no image" in user_error(lambda call=call: call(content))


def with_size(kind: str, height: int, width: int) -> bytes:
    content = bytearray(EVERY[kind])
    if kind.startswith("jpeg"):
        mark = b"\xff\xc2" if "progressive" in kind else b"\xff\xc0"
        at, form, sides = content.index(mark) + 5, ">HH", (height, width)
    elif kind == "png":
        at, form, sides = 16, ">II", (width, height)
    elif kind == "bmp":
        at, form, sides = 18, "<ii", (width, height)
    elif kind == "webp, animated":
        at, form, sides = 24, "<IH", ((width - 1) | (height - 1) << 24, (height - 1) >> 8)
        sides = (sides[0] & 0xFFFFFFFF, sides[1])
    else:
        for tag, side in ((256, width), (257, height)):
            at = content.index(struct.pack("<H", tag), 8)
            struct.pack_into("<HII", content, at + 2, 4, 1, side)
        return bytes(content)
    struct.pack_into(form, content, at, *sides)
    if kind == "png":
        struct.pack_into(">I", content, 29, zlib.crc32(content[12:29]))
    return bytes(content)


@pytest.mark.parametrize(
    "kind", ["jpeg", "jpeg, progressive", "png", "bmp", "tiff", "webp, animated"]
)
def test_a_size_too_large_to_be_true_is_refused_without_taking_memory(kind):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for side in (60000, 16385):
        content = with_size(kind, side, side)
        message = user_error(lambda content=content: decode_image(content))
        assert f"{side}x{side}" in message
        assert message == user_error(lambda content=content: image_size(content))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 2**10  # in KiB


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_other_depths_are_refused(dtype):
    content = save(Image.fromarray(np.asarray(GREY).astype(dtype)), "TIFF")
    assert f"{np.dtype(dtype)}, and only 8 and 16 bits" in user_error(lambda: decode_image(content))


@settings(max_examples=1500)
@given(st.data())
def test_damaged_files_give_an_image_or_the_documented_error(data):
    content = bytearray(EVERY[data.draw(st.sampled_from(sorted(EVERY)))])
    for _ in range(data.draw(st.integers(1, 4))):
        # Headers are at the start; TIFF's are at the end.
        at = data.draw(st.one_of(st.integers(0, 80), st.integers(0, len(content))))
        at = min(data.draw(st.sampled_from([at, len(content) - at])) % (len(content) + 1), at)
        match data.draw(st.sampled_from(["flip", "cut", "insert", "remove"])):
            case "flip" if at < len(content):
                content[at] ^= 1 << data.draw(st.integers(0, 7))
            case "cut":
                del content[at:]
            case "insert":
                content[at:at] = data.draw(st.binary(min_size=1, max_size=8))
            case _:
                del content[at : at + data.draw(st.integers(1, 8))]
    channels, reduction = data.draw(st.sampled_from([1, 3])), data.draw(st.sampled_from([1, 4]))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            image = decode_image(bytes(content), channels, reduction)
        except BadImageError as error:
            assert "\n" not in str(error)
        else:
            assert image.dtype == np.uint8
            height, width = image_size(bytes(content))
            assert image.shape == (-(-height // reduction), -(-width // reduction), channels)
    assert not caught


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("reduction", [1, 2, 8])
@pytest.mark.parametrize(
    "options",
    [
        {"subsampling": 0},
        {"subsampling": 2},
        {"subsampling": 2, "restart_marker_blocks": 3},
        {"subsampling": 1, "progressive": True},
    ],
)
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_upper_rows_are_those_of_the_whole_image(mode, options, reduction, channels):
    image = Image.fromarray(noise_images(70, 50, 3)).resize((150, 210)).convert(mode)
    content = save(image, "jpeg", **options)
    whole = decode_image(content, channels, reduction)
    for rows in (1, 15, 16, 40, 200, 210):
        upper = decode_rows(content, channels, reduction, rows)
        assert upper.shape[0] >= rows // reduction and upper.shape[1:] == whole.shape[1:]
        kept = rows // reduction
        # The fast transform is up to 4 levels off the exact one at this quality; rows that were
        # decoded wrongly would be off by far more, as every pixel is random.
        assert np.abs(upper[:kept].astype(int) - whole[:kept]).max(initial=0) <= 6


def test_upper_rows_spare_the_rest_and_nothing_is_said(capfd):
    content = save(Image.fromarray(noise_images(480, 64, 3)), "jpeg")
    assert len(decode_rows(content, 3, 1, 100)) == 112
    assert not capfd.readouterr().err


def test_a_jpeg_cut_short_is_refused_though_its_upper_rows_are_there():
    content = save(Image.fromarray(noise_images(480, 64, 3)), "jpeg")
    with pytest.raises(BadImageError):
        decode_rows(content[:-2000], 3, 1, 100)
