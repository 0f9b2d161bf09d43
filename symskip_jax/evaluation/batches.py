"""Measures every image of a dataset exactly once."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.experimental import multihost_utils

from symskip_jax.data.parts import Part
from symskip_jax.training.steps import Batch

# A new pass over a dataset, each time it is called.
Parts = Callable[[], Iterable[Part]]


_MASK = "counts"


def fetched(tree: Any) -> Any:
    """Returns arrays on the host, whole, wherever their rows are; for all processes."""
    return jax.tree.map(
        lambda x: (
            np.asarray(multihost_utils.process_allgather(x, tiled=True))
            if isinstance(x, Array) and not x.is_fully_addressable
            else np.asarray(x)
        ),
        tree,
    )


def map_images(
    measure: Callable[[Batch, Any], Mapping[str, Array]], parts: Parts
) -> dict[str, np.ndarray]:
    """Applies a compiled function to every image of a dataset, in order.

    Args:
        measure: (batch [B, ...], indices [B]) -> results [B, ...] by name, each depending on its
            own image alone.
        parts: the dataset, in batches of one size, so that the function is compiled for one shape.

    Returns:
        Results [N, ...] by name, without those that are masked.
    """
    collected = []
    for part in parts():
        results = fetched({**measure(part.batch, part.indices_b), _MASK: part.mask_b})
        mask_b = results.pop(_MASK)
        collected.append({name: x[mask_b] for name, x in results.items()})
    return jax.tree.map(lambda *pieces: np.concatenate(pieces), *collected)
