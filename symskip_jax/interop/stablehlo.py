"""Networks as StableHLO, with their weights, for any process that has JAX and nothing of ours."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import jax
import jax.numpy as jnp
from jax import Array, export

PLATFORMS = ("cpu", "cuda", "tpu")


def stablehlo_bytes(
    apply: Callable[[Array], Array], channels: int, image_size: tuple[int, int] | None
) -> bytes:
    """Returns a function as `jax.export.deserialize` reads it, lowered for PLATFORMS.

    Args:
        apply: of images uint8 [B, H, W, C].
        channels: C.
        image_size: (H, W); None for any, in one program as B is.
    """
    if image_size is None:
        shape = export.symbolic_shape(f"b, h, w, {channels}")
    else:
        height, width = image_size
        shape = export.symbolic_shape(f"b, {height}, {width}, {channels}")
    with _without_locations():
        exported = export.export(jax.jit(apply), platforms=PLATFORMS)(
            jax.ShapeDtypeStruct(shape, jnp.uint8)
        )
        return bytes(exported.serialize())


@contextmanager
def _without_locations() -> Iterator[None]:
    """Keeps the names of files on this machine out of what is lowered."""
    name = "jax_traceback_in_locations_limit"
    before = getattr(jax.config, name)
    jax.config.update(name, 0)
    try:
        yield
    finally:
        jax.config.update(name, before)
