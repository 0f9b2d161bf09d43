"""Which random draw belongs to which image, step and purpose."""

import enum

import jax
from jax import Array


class Purpose(enum.IntEnum):
    """What a key is for. A value is part of the random stream: never reuse or renumber one."""

    CROP = 0
    FLIP = 1
    CORRUPTION = 2
    CORRUPT_OR_NOT = 3
    DROPOUT = 4
    SKIP_DROP = 20


def image_keys(key: Array, count: int, axis_name: str | None = None) -> Array:
    """Returns one key for each of `count` images of a batch.

    Under pmap, `count` is the batch of one device and `axis_name` the mapped axis: the keys are
    those that the same images would have in one batch over all devices.
    """
    if axis_name is None:
        return jax.random.split(key, count)
    keys = jax.random.split(key, count * jax.lax.axis_size(axis_name))
    return jax.lax.dynamic_slice_in_dim(keys, count * jax.lax.axis_index(axis_name), count)


def keys_for(keys_b: Array, purpose: Purpose) -> Array:
    """Returns the keys [B] of one purpose from the keys [B] of the images."""
    return jax.vmap(jax.random.fold_in, (0, None))(keys_b, int(purpose))
