"""The order in which an epoch visits the images."""

from types import ModuleType
from typing import Any

import numpy as np


def epoch_order(seed: int, epoch: Any, count: int, xp: ModuleType = np) -> Any:
    """Shuffle the images of an epoch: a pure function, the same on the host and on the device.

    The order sorts hashes of (seed, epoch, index), as no library's generator gives the same numbers
    in NumPy and JAX. So a run reads the same batches whether its data is resident or streamed.

    Args:
        seed: 0 to 2**32 - 1.
        epoch: from 0; an integer, or a scalar of the array library.
        count: images.
        xp: numpy or jax.numpy.

    Returns:
        int32 [count], each index once.
    """
    words = xp.asarray(seed, xp.uint32), xp.asarray(epoch).astype(xp.uint32)
    keys = xp.arange(count, dtype=xp.uint32)
    for word in words:
        keys = _mix(xp, keys ^ _mix(xp, word + xp.asarray(0x9E3779B9, xp.uint32)))
    return xp.argsort(keys, stable=True).astype(xp.int32)


def _mix(xp: ModuleType, x: Any) -> Any:
    """Scramble 32 bits, one to one, so that each bit depends on all (MurmurHash3's last step)."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x = (x ^ (x >> shift)) * xp.asarray(factor, xp.uint32)
    return x ^ (x >> 16)
