"""Reads and decodes images by index, and deals with those that cannot be."""

import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeVar

import numpy as np

from symskip_jax.data.base import LabelKind, Source, Stored
from symskip_jax.data.decode import decode_image
from symskip_jax.data.views import View
from symskip_jax.errors import BadImageError, ReadFailedError, UserError

MAX_REPLACEMENTS = 100
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Faults:
    """What is done about what cannot be read.

    Attributes:
        bad_image: "fail" ends the run with the name of the image; "skip" takes the next image of
            the source in its place, which is counted.
        read_retries: how often a read that failed is tried again, after a pause that doubles.
    """

    bad_image: Literal["fail", "skip"] = "fail"
    read_retries: int = 3


class SizesDifferError(UserError):
    """Images that are shown whole are not all of one size."""


class Images(NamedTuple):
    """Decoded images.

    images_bhwc: uint8 [B, h, w, C].
    labels_b: int32 [B]; int8 [B, number of classes] where an image has several classes; uint8
        [B, h, w] where each pixel has one, cut as the images are.
    bad_b: int64 [B], the index of the image that could not be decoded and was replaced; -1 where
        all was well.
    """

    images_bhwc: np.ndarray
    labels_b: np.ndarray
    bad_b: np.ndarray


@dataclasses.dataclass(frozen=True)
class Reader:
    """Reads images of one size out of a source.

    Attributes:
        source: of the images.
        view: what is shown of each; None where they all have one size and are shown whole.
        faults: what is done about what cannot be read.
    """

    source: Source
    view: View | None
    faults: Faults

    def read(
        self,
        indices: Sequence[int],
        randoms: Sequence[np.random.Generator] | None = None,
        shape: tuple[int, ...] | None = None,
    ) -> Images:
        """Read images at indices, showing random windows where there are generators, else central.

        Args:
            indices: of the images in the source.
            randoms: decide the windows, one for each image.
            shape: [H, W, C] that images shown whole must have; None for that of the first.

        Raises:
            SizesDifferError: images are shown whole, and differ in size.
            BadImageError: one cannot be decoded, and bad images are fatal or too many.
            ReadFailedError: reading failed again and again.
        """
        stored = self._stored_many(indices)
        images_bhwc = None if shape is None else np.empty((len(indices), *shape), np.uint8)
        labels, bad = [], []
        for position, (index, it) in enumerate(zip(indices, stored, strict=True)):
            random = randoms[position] if randoms else None
            try:
                it = self._stored(index) if it is None else it
                (image, label), was_bad = self._show(index, it, random), -1
            except BadImageError as error:
                if self.faults.bad_image == "fail":
                    raise BadImageError(f"{error}, or set data.bad_image=skip") from error
                image, label = self._replacement(index, random)
                was_bad = index
            if images_bhwc is None:
                images_bhwc = np.empty((len(indices), *image.shape), np.uint8)
            if image.shape != images_bhwc.shape[1:]:
                raise SizesDifferError(
                    f"images differ in size and cannot be shown whole: "
                    f"{self.source.describe(index)} is {_words(image.shape)}, others are "
                    f"{_words(images_bhwc.shape[1:])}; set data.input=streamed, or resize them to "
                    "one size"
                )
            images_bhwc[position] = image
            labels.append(label)
            bad.append(was_bad)
        assert images_bhwc is not None, "at least one index"
        labels_b = np.array(labels, label_dtype(self.source.features.label_kind))
        return Images(images_bhwc, labels_b, np.array(bad))

    def _stored_many(self, indices: Sequence[int]) -> Sequence[Stored | None]:
        """Read them in one call; None for each where one of them is bad and is to be skipped."""
        try:
            return self._retrying(lambda: self.source.stored_many(indices))
        except BadImageError:
            if self.faults.bad_image == "fail":
                raise
            return [None] * len(indices)

    def _stored(self, index: int) -> Stored:
        return self._retrying(lambda: self.source.stored(index))

    def _show(
        self, index: int, stored: Stored, random: np.random.Generator | None
    ) -> tuple[np.ndarray, int | np.ndarray]:
        channels, image, label = self.source.features.image_shape[2], stored.image, stored.label
        try:
            if self.view is not None:
                window = self.view.window(image, random)
                if self.source.features.label_kind == "mask":
                    label = self.view.cut_mask(np.asarray(label), window)
                return self.view.cut(image, channels, window), label
            if isinstance(image, bytes):
                image = decode_image(image, channels)
            return image, label
        except BadImageError as error:
            raise BadImageError(f"{self.source.describe(index)} {error}") from error

    def _replacement(
        self, index: int, random: np.random.Generator | None
    ) -> tuple[np.ndarray, int | np.ndarray]:
        for further in range(1, MAX_REPLACEMENTS + 1):
            other = (index + further) % len(self.source)
            try:
                return self._show(other, self._stored(other), random)
            except BadImageError:
                continue
        raise UserError(
            f"{self.source.describe(index)} and the {MAX_REPLACEMENTS} images behind it cannot be "
            "decoded: `symskip data check` lists what is broken"
        )

    def _retrying(self, read: Callable[[], T]) -> T:
        pause = FIRST_PAUSE
        for retries_left in reversed(range(self.faults.read_retries + 1)):
            try:
                return read()
            except ReadFailedError as error:
                if not retries_left:
                    tries = self.faults.read_retries + 1
                    raise ReadFailedError(f"{error} (tried {tries} times)") from error
                log.warning("%s; trying again in %.1f s", error, pause)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        raise AssertionError("the last try returns or raises")


def label_dtype(kind: LabelKind) -> type[np.integer]:
    """Give the type in which labels of a kind are stacked."""
    return {"classes": np.int8, "mask": np.uint8}.get(kind, np.int32)


def why_bad(source: Source, index: int) -> str:
    """Say in one line which image cannot be decoded, and why if it can still be read."""
    try:
        source[index]
    except BadImageError as error:
        return str(error)
    except UserError:
        pass  # the image is skipped already, and not being able to say why must not end a run
    return f"{source.describe(index)} could not be decoded"


def _words(shape: tuple[int, ...]) -> str:
    height, width, channels = shape
    return f"{width}x{height} with {channels} channel{'s' if channels > 1 else ''}"
