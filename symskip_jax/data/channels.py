"""Images as grey or as colour, whichever they are stored as."""

import hashlib
from collections.abc import Sequence

import cv2
import numpy as np

from symskip_jax.data.base import Source, Stored


def with_channels(source: Source, channels: int) -> Source:
    """Give a source's images so many channels: grey becomes RGB, RGB its luma (ITU-R 601).

    Args:
        source: of the images.
        channels: 1 for grey, 3 for RGB.

    Returns:
        The source itself where its images have so many already.
    """
    return source if source.features.image_shape[2] == channels else _InChannels(source, channels)


class _InChannels(Source):
    def __init__(self, source: Source, channels: int):
        height, width, _ = source.features.image_shape
        self.name = source.name
        self.features = source.features._replace(image_shape=(height, width, channels))
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def stored(self, index: int, /) -> Stored:
        """Read one image; bytes stay as they are, and are decoded as `features` says."""
        return self._convert(self._source.stored(index))

    def stored_many(self, indices: Sequence[int], /) -> Sequence[Stored]:
        """Read many as the source reads them."""
        return [self._convert(stored) for stored in self._source.stored_many(indices)]

    def labels(self) -> np.ndarray:
        """Give the labels of all images, int32 [N]."""
        return self._source.labels()

    def fingerprint(self) -> str:
        """Give 16 digits of the source's images and of how many channels they get."""
        facts = f"{self._source.fingerprint()} {self.features.image_shape[2]}"
        return hashlib.sha256(facts.encode()).hexdigest()[:16]

    def describe(self, index: int, /) -> str:
        """Name one image as the source does."""
        return self._source.describe(index)

    def names(self, indices: Sequence[int], /) -> list[str]:
        """Name images as the source does."""
        return self._source.names(indices)

    def _convert(self, stored: Stored) -> Stored:
        if not isinstance(stored.image, np.ndarray):
            return stored
        if self.features.image_shape[2] == 3:
            return stored._replace(image=np.repeat(stored.image, 3, axis=2))
        return stored._replace(image=cv2.cvtColor(stored.image, cv2.COLOR_RGB2GRAY)[..., None])
