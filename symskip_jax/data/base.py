"""What a source of images is."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

UNLABELLED = -1


class Example(NamedTuple):
    """One image and its class.

    image: uint8 [H, W, C], C is 1 (grey) or 3 (RGB).
    label: index into the source's class_names; -1 where there is none.
    """

    image: np.ndarray
    label: int


class Source(Protocol):
    """A finite, ordered set of images that can be read by index.

    name: the name it was opened by, split included, for messages and logs.
    class_names: None where the images have no labels.

    A source of your own inherits from this class and gives these two, `__len__` and `__getitem__`;
    it overrides the rest only where it can do better.
    """

    name: str
    class_names: tuple[str, ...] | None

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Example: ...

    def __getitems__(self, indices: Sequence[int], /) -> Sequence[Example]:
        """Read many at once: the fast path where reading has a fixed cost."""
        return [self[index] for index in indices]

    def describe(self, index: int, /) -> str:
        """Name one image as a person would find it again, for messages."""
        return f"image {index} of {self.name}"


class ArraySource(Source):
    """Images that already are one array.

    images_nhwc: uint8 [N, H, W, C]; labels_n: integer [N], -1 where there is no label.
    """

    def __init__(
        self,
        name: str,
        images_nhwc: np.ndarray,
        labels_n: np.ndarray,
        class_names: tuple[str, ...] | None,
    ):
        self.name = name
        self.images_nhwc = images_nhwc
        self.labels_n = labels_n
        self.class_names = class_names

    def __len__(self) -> int:
        return len(self.images_nhwc)

    def __getitem__(self, index: int, /) -> Example:
        return Example(self.images_nhwc[index], int(self.labels_n[index]))
