"""A whole split in memory as one array: what the training loop puts on the device."""

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from symskip_jax.data.base import UNLABELLED, ArraySource, Source, hash_images
from symskip_jax.data.reading import Faults, Reader, why_bad
from symskip_jax.errors import UserError

log = logging.getLogger(__name__)

MAX_CHUNK = 256
CHUNK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class ResidentData:
    """images_nhwc: uint8 [N, H, W, C]; labels_n: int32 [N], -1 where there is no label.

    class_names is None where no image has a label. mask_n, bool [N], is False where an image could
    not be decoded and the next one, with its label, stands in for it.
    """

    images_nhwc: np.ndarray
    labels_n: np.ndarray
    class_names: tuple[str, ...] | None
    name: str
    mask_n: np.ndarray

    def __len__(self) -> int:
        return len(self.images_nhwc)

    def fingerprint(self) -> str:
        """16 hexadecimal digits that change when any pixel, label or size does."""
        return hash_images(self.images_nhwc, self.labels_n)

    def take(self, indices: np.ndarray) -> "ResidentData":
        """The images at these indices, in their order."""
        return ResidentData(
            self.images_nhwc[indices],
            self.labels_n[indices],
            self.class_names,
            self.name,
            self.mask_n[indices],
        )


def load_resident(source: Source, faults: Faults = Faults()) -> ResidentData:
    """Read every image of a source into one contiguous array, in threads.

    Args:
        source: of the images.
        faults: what is done about images that cannot be decoded.

    Raises:
        SizesDifferError: two images that differ in size are named.
        UserError: there are no images, one cannot be read or decoded, or a label is outside the
            range of class_names.
    """
    if not len(source):
        raise UserError(f"{source.name} has no images")
    if isinstance(source, ArraySource):
        images_nhwc, labels_n = np.ascontiguousarray(source.images_nhwc), source.labels_n
        mask_n = np.ones(len(source), bool)
    else:
        images_nhwc, labels_n, mask_n = _read_all(source, Reader(source, None, faults))
    check_labels(source, labels_n)
    is_labelled = bool((labels_n != UNLABELLED).any())
    return ResidentData(
        images_nhwc,
        labels_n.astype(np.int32),
        source.class_names if is_labelled else None,
        source.name,
        mask_n,
    )


def _read_all(source: Source, reader: Reader) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    first = reader.read([0])
    shape = first.images_bhwc.shape[1:]
    num_threads = os.cpu_count() or 1
    chunk = max(1, min(MAX_CHUNK, CHUNK_BYTES // first.images_bhwc.nbytes // num_threads))
    images_nhwc = np.empty((len(source), *shape), np.uint8)
    labels_n = np.empty((len(source), *first.labels_b.shape[1:]), np.int64)
    mask_n = np.ones(len(source), bool)

    def fill(start: int) -> None:
        indices = range(start, min(start + chunk, len(source)))
        read = reader.read(indices, shape=shape)
        images_nhwc[start : indices.stop] = read.images_bhwc
        labels_n[start : indices.stop] = read.labels_b
        mask_n[start : indices.stop] = read.bad_b < 0

    with ThreadPoolExecutor(num_threads) as pool:
        for _ in pool.map(fill, range(0, len(source), chunk)):
            pass
    for number, index in enumerate(np.flatnonzero(~mask_n).tolist(), 1):
        log.warning("skipped %s (%d so far)", why_bad(source, index), number)
    return images_nhwc, labels_n, mask_n


def check_labels(source: Source, labels_n: np.ndarray) -> None:
    """See that every label is -1 or a class of the source.

    Args:
        source: of the images.
        labels_n: theirs, integer [N], or [N, number of classes] of 1, 0 and -1.

    Raises:
        UserError: one is neither; the first such image is named.
    """
    num_classes = len(source.class_names or ())
    outside = np.flatnonzero((labels_n < UNLABELLED) | (labels_n >= num_classes))
    if len(outside):
        index = int(outside[0])
        expected = f"0 to {num_classes - 1}, or -1 for none" if num_classes else "-1, for none"
        raise UserError(
            f"label {labels_n[index]} of {source.describe(index)} is outside the range: "
            f"{num_classes} classes are named, so it must be {expected}"
        )
