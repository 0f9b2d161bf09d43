"""A pass over a dataset in batches of one size, in which every image counts once."""

from collections.abc import Generator, Mapping
from typing import Any, NamedTuple

import numpy as np


class Part(NamedTuple):
    """A batch of a pass in order.

    batch: arrays [B, ...] by name, `image` and `label`.
    indices_b: integer [B], which images they are.
    mask_b: bool [B]; False for what only fills up the batch, and for images that were skipped.
    """

    batch: Mapping[str, Any]
    indices_b: np.ndarray
    mask_b: np.ndarray


class Shard(NamedTuple):
    """Which process of how many this one is: it reads that part of every batch."""

    index: int = 0
    count: int = 1


def parts_of(
    data: Mapping[str, Any],
    batch_size: int,
    mask_n: np.ndarray | None = None,
    shard: Shard = Shard(),
) -> Generator[Part]:
    """Cut arrays [N, ...] by name, on the device or the host, into parts.

    The last one is filled up with copies of the last image. mask_n, bool [N], is False for images
    that do not count. Each process gets its own rows of every part; their number divides
    batch_size.
    """
    count = len(next(iter(data.values())))
    local = batch_size // shard.count
    for start in range(0, count, batch_size):
        places = start + shard.index * local + np.arange(local)
        indices = np.minimum(places, count - 1)
        mask = places < count if mask_n is None else (places < count) & mask_n[indices]
        yield Part({name: x[indices] for name, x in data.items()}, indices, mask)
