"""Fixed-size batches that cover a dataset exactly once."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax import Array

from symskip_jax.training.steps import Batch


def map_images(
    measure: Callable[[Batch, Any], Mapping[str, Array]], data: Batch, batch_size: int
) -> dict[str, np.ndarray]:
    """Applies a compiled function to every image of a dataset, in order.

    The last batch is filled up with copies of the last image, whose results are dropped: every
    image counts once, and the function is compiled for one shape.

    Args:
        measure: (batch [B, ...], indices [B]) -> results [B, ...] by name, each depending on its
            own image alone.
        data: arrays [N, ...] by name, on the device or the host.
        batch_size: B.

    Returns:
        Results [N, ...] by name.
    """
    count = len(next(iter(data.values())))
    collected = []
    for start in range(0, count, batch_size):
        indices = np.minimum(np.arange(start, start + batch_size), count - 1)
        results = measure({name: values[indices] for name, values in data.items()}, indices)
        kept = min(batch_size, count - start)
        collected.append({name: np.asarray(value)[:kept] for name, value in results.items()})
    return jax.tree.map(lambda *parts: np.concatenate(parts), *collected)
