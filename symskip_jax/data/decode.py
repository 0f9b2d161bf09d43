"""From the bytes of an image file to pixels."""

from contextlib import suppress

import cv2
import numpy as np

from symskip_jax.errors import BadImageError


def decode_image(content: bytes, channels: int = 3) -> np.ndarray:
    """Decode a JPEG, PNG, WebP, BMP or TIFF file.

    EXIF orientation is applied, 16 bits become 8, grey becomes RGB where `channels` is 3.

    Args:
        content: the bytes of the file.
        channels: 1 for grey, 3 for RGB.

    Returns:
        uint8 [H, W, channels].

    Raises:
        BadImageError: it is cut short or cannot be decoded; the message goes behind its name.
    """
    flag = cv2.IMREAD_COLOR_RGB if channels == 3 else cv2.IMREAD_GRAYSCALE
    image = None
    # cv2.error: no bytes at all, or a size that is too large to be true. From memory, not by
    # imread, because that fills the missing part of a JPEG with grey and says nothing.
    with suppress(cv2.error):
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flag)
    if image is None:
        raise BadImageError(
            f"is cut short or is no image that can be decoded ({len(content)} bytes): "
            "replace or remove it"
        )
    return image if channels == 3 else image[..., None]
