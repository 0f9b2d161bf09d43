"""What a source of images is."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple, Protocol

import numpy as np

from symskip_jax.errors import BadImageError

UNLABELLED = -1
VOID = 255

LabelKind = Literal["none", "class", "classes", "mask"]


class Features(NamedTuple):
    """What every example of a source is like.

    image_shape: (H, W, C); H and W are None where images may differ in size, C is 1 (grey) or 3
        (RGB).
    label_kind: what a label is.
        "none": there are no labels, and each is -1.
        "class": an index into class_names; -1 for an image without a label.
        "classes": int8 [number of classes], 1 where the class is there, 0 where it is not, -1 where
            it does not count (in VOC: all of its objects are difficult).
        "mask": uint8 [H, W] of the image, an index into class_names a pixel; VOID (255) does not
            count.
    class_names: None where the images have no labels.
    """

    image_shape: tuple[int | None, int | None, int]
    label_kind: LabelKind
    class_names: tuple[str, ...] | None

    @property
    def fixed_shape(self) -> tuple[int, int, int] | None:
        """The (H, W, C) of every image; None where they may differ in size."""
        height, width, channels = self.image_shape
        return None if height is None or width is None else (height, width, channels)


class Stored(NamedTuple):
    """One image as it is stored, and its label.

    image: the bytes of an image file, or uint8 [H, W, C].
    label: as `Features.label_kind` says.
    """

    image: bytes | np.ndarray
    label: int | np.ndarray


class Example(NamedTuple):
    """One decoded image and its label.

    image: uint8 [H, W, C], C is 1 (grey) or 3 (RGB).
    label: as `Features.label_kind` says.
    """

    image: np.ndarray
    label: int | np.ndarray


class Source(Protocol):
    """A finite, ordered set of images that can be read by index, from several threads at once.

    name: the name it was opened by, split included, for messages and logs.
    features: what the examples are like.

    A source of your own inherits from this class and gives these two, `__len__` and `stored`; it
    overrides the rest only where it can do better.
    """

    name: str
    features: Features

    def __len__(self) -> int: ...

    def stored(self, index: int, /) -> Stored:
        """Read one image without decoding it."""
        ...

    def stored_many(self, indices: Sequence[int], /) -> Sequence[Stored]:
        """Read many at once: the fast path where reading has a fixed cost."""
        return [self.stored(index) for index in indices]

    def labels(self) -> np.ndarray:
        """Give the labels of all images, int32 [N], without decoding any.

        Only where label_kind is "class" or "none".
        """
        chunks = [range(i, min(i + 1000, len(self))) for i in range(0, len(self), 1000)]
        found = [stored.label for chunk in chunks for stored in self.stored_many(chunk)]
        return np.array(found, np.int32)

    def fingerprint(self) -> str:
        """Give 16 hexadecimal digits that change when the set of images does; nothing is decoded.

        By default they tell how many images there are and what they are like.
        """
        facts = repr((len(self), self.features))
        return hashlib.sha256(facts.encode()).hexdigest()[:16]

    def describe(self, index: int, /) -> str:
        """Name one image as a person would find it again, for messages."""
        return f"image {index} of {self.name}"

    def names(self, indices: Sequence[int], /) -> list[str]:
        """Name images as the dataset itself does, by file or id; by their place if it does not."""
        return [str(index) for index in indices]

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Names of the classes; None where the images have no labels."""
        return self.features.class_names

    def __getitem__(self, index: int, /) -> Example:
        return self._decode(index, self.stored(index))

    def __getitems__(self, indices: Sequence[int], /) -> list[Example]:
        """Read and decode many, in threads."""
        stored = self.stored_many(indices)
        if not any(isinstance(it.image, bytes) for it in stored):
            return [self._decode(*pair) for pair in zip(indices, stored, strict=True)]
        with ThreadPoolExecutor() as pool:
            return list(pool.map(self._decode, indices, stored))

    def _decode(self, index: int, stored: Stored) -> Example:
        if not isinstance(stored.image, bytes):
            return Example(stored.image, stored.label)
        # Imported here, so that arrays do not wait for OpenCV.
        from symskip_jax.data.decode import decode_image

        try:
            image = decode_image(stored.image, self.features.image_shape[2])
        except BadImageError as error:
            raise BadImageError(f"{self.describe(index)} {error}") from error
        return Example(image, stored.label)


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
        height, width, channels = images_nhwc.shape[1:]
        kind = "class" if class_names else "none"
        self.features = Features((height, width, channels), kind, class_names)

    def __len__(self) -> int:
        return len(self.images_nhwc)

    def stored(self, index: int, /) -> Stored:
        """Give the array of one image, as a view."""
        return Stored(self.images_nhwc[index], int(self.labels_n[index]))

    def fingerprint(self) -> str:
        """Give 16 digits of all pixels and labels."""
        return hash_images(self.images_nhwc, self.labels_n)


def hash_images(images_nhwc: np.ndarray, labels_n: np.ndarray) -> str:
    """Give 16 hexadecimal digits that change when any pixel, label or size does.

    Args:
        images_nhwc: uint8 [N, H, W, C].
        labels_n: integer [N].
    """
    digest = hashlib.sha256(repr(images_nhwc.shape).encode())
    digest.update(np.ascontiguousarray(images_nhwc).data)
    digest.update(labels_n.astype("<i4").tobytes())
    return digest.hexdigest()[:16]
