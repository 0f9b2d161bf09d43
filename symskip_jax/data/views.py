"""Crops of one size out of images of any size, cut while they are decoded."""

import dataclasses
import math
from typing import Literal, NamedTuple

import cv2
import numpy as np

from symskip_jax.data.decode import decode_rows, image_size

# Of what a random-resized view shows in tests: the usual 224 of 256 pixels.
CENTRAL_SHARE = 224 / 256


class Window(NamedTuple):
    """A rectangle of an image, in its own pixels."""

    top: int
    left: int
    height: int
    width: int


@dataclasses.dataclass(frozen=True)
class View:
    """What is shown of an image: a window of it, resized to `crop`.

    Attributes:
        crop: (h, w) in pixels of what comes out.
        kind: "crop" takes a window of `crop` out of the image once its shorter side is `resize`
            (section 4 crops so). "random_resized" takes a window of a random share of its area.
        resize: pixels; 0 leaves images as they are, but for those smaller than the crop, which are
            enlarged until it fits.
        min_area: smallest share of the image's area that a "random_resized" window has, where one
            of at most 3:4 to 4:3 times the crop's aspect can have it.
    """

    crop: tuple[int, int]
    kind: Literal["crop", "random_resized"] = "crop"
    resize: int = 0
    min_area: float = 0.25

    def random_window(self, height: int, width: int, random: np.random.Generator) -> Window:
        """Choose what to show of an image [height, width] in training."""
        if self.kind == "random_resized":
            share = random.uniform(self.min_area, 1)
            # Aspects as in Szegedy et al.: 3:4 to 4:3, times that of the crop.
            stretch = math.exp(random.uniform(-1, 1) * math.log(4 / 3) / 2)
            largest_h, largest_w = self._fitting(height, width)
            scale = math.sqrt(share * height * width / (largest_h * largest_w))
            window_h, window_w = largest_h * scale / stretch, largest_w * scale * stretch
            fit = min(1.0, height / window_h, width / window_w)
            window_h, window_w = _whole(window_h * fit, height), _whole(window_w * fit, width)
        else:
            window_h, window_w = self._resized(height, width)
        top = int(random.integers(height - window_h + 1))
        left = int(random.integers(width - window_w + 1))
        return Window(top, left, window_h, window_w)

    def central_window(self, height: int, width: int) -> Window:
        """Choose what to show of an image [height, width] in tests: the middle of it."""
        if self.kind == "random_resized" and not self.resize:
            window_h, window_w = (
                _whole(side * CENTRAL_SHARE, side) for side in self._fitting(height, width)
            )
        else:
            window_h, window_w = self._resized(height, width)
        return Window((height - window_h) // 2, (width - window_w) // 2, window_h, window_w)

    def random(
        self, image: bytes | np.ndarray, channels: int, random: np.random.Generator
    ) -> np.ndarray:
        """Show a random window of an image.

        Args:
            image: bytes of a file, or uint8 [H, W, channels].
            channels: 1 or 3.
            random: decides which.

        Returns:
            uint8 [h, w, channels].

        Raises:
            BadImageError: the file cannot be decoded.
        """
        return self.cut(image, channels, self.window(image, random))

    def central(self, image: bytes | np.ndarray, channels: int) -> np.ndarray:
        """Show the middle of an image: uint8 [h, w, channels]; otherwise as `random`."""
        return self.cut(image, channels, self.window(image, None))

    def window(self, image: bytes | np.ndarray, random: np.random.Generator | None) -> Window:
        """Choose what to show of an image: at random, or the middle where nothing is random.

        Raises:
            BadImageError: its size cannot be read.
        """
        if random is None:
            return self.central_window(*_size(image))
        return self.random_window(*_size(image), random)

    def _fitting(self, height: int, width: int) -> tuple[float, float]:
        """The largest window that has the aspect of the crop."""
        scale = min(height / self.crop[0], width / self.crop[1])
        return self.crop[0] * scale, self.crop[1] * scale

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        """The window that `crop` covers once the image has been resized."""
        scale = self.resize / min(height, width) if self.resize else 1.0
        scale = max(scale, self.crop[0] / height, self.crop[1] / width)
        return _whole(self.crop[0] / scale, height), _whole(self.crop[1] / scale, width)

    def cut(self, image: bytes | np.ndarray, channels: int, window: Window) -> np.ndarray:
        """Show a window of an image: uint8 [h, w, channels]; arguments as those of `random`.

        Raises:
            BadImageError: the file cannot be decoded.
        """
        top, left, height, width = window
        if isinstance(image, bytes):
            # A large JPEG is decoded at a half, a quarter or an eighth where that is fine enough.
            shrink = min(height // self.crop[0], width // self.crop[1])
            reduction = next(r for r in (8, 4, 2, 1) if r <= max(shrink, 1))
            image = decode_rows(image, channels, reduction, top + height)
            if reduction > 1:
                top, left = top // reduction, left // reduction
                height, width = height // reduction, width // reduction
        shown = image[top : top + height, left : left + width]
        return resize_image(shown, self.crop)

    def cut_mask(self, mask_hw: np.ndarray, window: Window) -> np.ndarray:
        """Show a window of a mask as `cut` shows it of its image, each pixel with one true class.

        Args:
            mask_hw: uint8 [H, W], of the size of its image.
            window: of the image.

        Returns:
            uint8 [h, w].
        """
        top, left, height, width = window
        return resize_mask(mask_hw[top : top + height, left : left + width], self.crop)

    def whole(self, image: np.ndarray, mask_hw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Show all of an image and its mask, at the scale at which "crop" takes windows.

        Args:
            image: uint8 [H, W, channels].
            mask_hw: uint8 [H, W].

        Returns:
            uint8 [h, w, channels] and [h, w], the shorter side `resize` pixels; as they are where
            that is 0.
        """
        scale = self.resize / min(mask_hw.shape) if self.resize else 1.0
        height, width = (round(side * scale) for side in mask_hw.shape)
        return resize_image(image, (height, width)), resize_mask(mask_hw, (height, width))


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize uint8 [H, W, channels] to [h, w, channels]."""
    if image.shape[:2] == size:
        return image
    # Averaging areas costs as much as decoding; above a half, neighbours do nearly as well.
    shrink = max(image.shape[0] / size[0], image.shape[1] / size[1])
    method = cv2.INTER_AREA if shrink >= 2 else cv2.INTER_LINEAR
    return cv2.resize(image, size[::-1], interpolation=method).reshape(*size, image.shape[2])


def resize_mask(mask_hw: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize uint8 [H, W] to [h, w], each pixel that of the nearest centre."""
    if mask_hw.shape == size:
        return mask_hw
    return cv2.resize(mask_hw, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def _size(image: bytes | np.ndarray) -> tuple[int, int]:
    if isinstance(image, bytes):
        return image_size(image)
    return image.shape[0], image.shape[1]


def _whole(side: float, largest: float) -> int:
    return min(max(round(side), 1), int(largest))
