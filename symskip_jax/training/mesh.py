"""Turns pure steps into compiled ones over the devices at hand."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from symskip_jax.training.compilation import compiler_options, options_to_run_once
from symskip_jax.training.state import TrainState
from symskip_jax.training.steps import Batch, Metrics

Step = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]

DATA_AXIS = "data"


def data_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """Returns a mesh of one axis, `data`, over the given devices or all of them.

    The devices of a process are neighbours, so that it holds neighbouring rows of a batch.
    """
    chosen = jax.devices() if devices is None else devices
    return Mesh(sorted(chosen, key=lambda it: (it.process_index, it.id)), (DATA_AXIS,))


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of what every device holds whole: the state, and data that fits."""
    return NamedSharding(mesh, PartitionSpec())


def split_over_devices(mesh: Mesh) -> NamedSharding:
    """The sharding of a batch: its first axis is split over the devices, which must divide it."""
    return NamedSharding(mesh, PartitionSpec(DATA_AXIS))


def put_whole(tree: Any, mesh: Mesh) -> Any:
    """Puts arrays, which all processes have alike, on every device of a mesh."""
    whole = replicated(mesh)

    def put(x: Any) -> Array:
        if isinstance(x, Array) and x.sharding == whole:
            return x
        values = np.asarray(x)
        return jax.make_array_from_process_local_data(whole, values, values.shape)

    return jax.tree.map(put, tree)


def put_like(value: Any, like: Array) -> Array:
    """Puts an array, which all processes have alike, where another one is, as its dtype."""
    values = np.asarray(value, like.dtype)
    return jax.make_array_from_callback(like.shape, like.sharding, lambda index: values[index])


def put_split(tree: Any, mesh: Mesh) -> Any:
    """Splits arrays [B, ...] over the devices of a mesh.

    Args:
        tree: each process's rows, B / P of them, in the order of the processes.
        mesh: whose size divides B.
    """
    split = split_over_devices(mesh)
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(split, x), tree)


def local_copy(tree: Any) -> Any:
    """Returns arrays that every device holds whole as those of one device of this process."""
    return jax.tree.map(lambda x: x.addressable_data(0), tree)


def jit_step(step: Step, mesh: Mesh) -> Step:
    """Compiles a step for batches split over a mesh.

    BatchNorm takes the statistics of the global batch. The state is donated: do not use it again.
    """
    whole, split = replicated(mesh), split_over_devices(mesh)
    return jax.jit(
        step,
        in_shardings=(whole, split),
        out_shardings=whole,
        donate_argnums=0,
        compiler_options=compiler_options(mesh.devices.flat[0].platform),
    )


def make_replicated(make: Callable[[Any], TrainState], seed: int, mesh: Mesh) -> TrainState:
    """Computes the state that `make` makes of a seed, on every device of a mesh.

    The seed is an argument of the compiled program, so that one program serves all seeds.
    """
    platform = mesh.devices.flat[0].platform
    options = options_to_run_once(platform)
    return jax.jit(make, out_shardings=replicated(mesh), compiler_options=options)(np.uint32(seed))


def pmap_step(step: Step, devices: Sequence[Any] | None = None) -> Step:
    """Compiles a step with pmap.

    State and batch have a leading axis of devices ([D, ...], [D, B / D, ...]), and so has what
    comes out. The step and its module must have been given `axis_name=DATA_AXIS`. The state is
    donated.
    """
    return jax.pmap(step, axis_name=DATA_AXIS, devices=devices, donate_argnums=0)


def replicate_for_pmap(tree: Any, devices: Sequence[Any]) -> Any:
    """Copies a tree of arrays to every device, with the leading axis that pmap wants."""
    mesh = Mesh(devices, (DATA_AXIS,))

    def copy(x: Array) -> Array:
        stacked = jax.numpy.broadcast_to(x, (len(devices), *x.shape))
        return jax.device_put(stacked, split_over_devices(mesh))

    return jax.tree.map(copy, tree)
