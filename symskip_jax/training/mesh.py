"""Turns pure steps into compiled ones over the devices at hand."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import optax
from jax import Array, lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from symskip_jax.training.compilation import compiler_options, options_to_run_once
from symskip_jax.training.state import Averaged, TrainState
from symskip_jax.training.steps import Batch, Metrics

Step = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]

REPLICA_AXIS = "replica"
DATA_AXIS = "data"


def data_mesh(devices: Sequence[Any] | None = None, replicas: int = 1) -> Mesh:
    """Returns a mesh of two axes, `replica` and `data`, over the given devices or all of them.

    A batch is split over both, row by row. Its devices are sorted by process: each process has
    neighbouring images of a batch, and those that its number says. So they are not in the order of
    their links (`mesh_utils`), which mixes the devices of several processes.

    Args:
        devices: in any order; default all of all processes.
        replicas: groups of neighbours, within each of which an optimiser's state may be sharded.

    Returns:
        The mesh, [replicas, devices of each].

    Raises:
        ValueError: the replicas do not divide the devices.
    """
    chosen = jax.devices() if devices is None else devices
    if replicas < 1 or len(chosen) % replicas:
        raise ValueError(f"{len(chosen)} devices make no {replicas} replicas of equal size")
    ordered = sorted(chosen, key=lambda it: (it.process_index, it.id))
    return Mesh(np.reshape(np.array(ordered), (replicas, -1)), (REPLICA_AXIS, DATA_AXIS))


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of what every device holds whole: parameters, and data that fits."""
    return NamedSharding(mesh, PartitionSpec())


def split_over_devices(mesh: Mesh) -> NamedSharding:
    """The sharding of a batch: its first axis is split over the devices, which must divide it."""
    return NamedSharding(mesh, PartitionSpec((REPLICA_AXIS, DATA_AXIS)))


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


def state_shardings(state: TrainState, mesh: Mesh, shard_optimizer: bool = False) -> TrainState:
    """Returns where each array of a state lies.

    Args:
        state: of arrays, or of what has their shapes.
        mesh: devices.
        shard_optimizer: whether each array of the optimiser's state is split over the axis `data`
            along its longest dimension that the axis divides (ZeRO-1; the step's optimiser must be
            a `sharded_optimizer`). Where there is none, and of everything else, every device holds
            the whole; of averages of weights too.

    Returns:
        A tree like the state, of NamedSharding.
    """
    whole = replicated(mesh)
    shardings = jax.tree.map(lambda _: whole, state)
    if not shard_optimizer:
        return shardings

    def split(leaf: Any) -> NamedSharding:
        parts = mesh.shape[DATA_AXIS]
        lengths = [length if length % parts == 0 else 0 for length in leaf.shape]
        if not any(lengths):
            return whole
        axis = lengths.index(max(lengths))
        return NamedSharding(mesh, PartitionSpec(*[None] * axis, DATA_AXIS))

    kept, places = state.opt_state, shardings.opt_state
    if isinstance(kept, Averaged):
        places = places._replace(inner=jax.tree.map(split, kept.inner))
    else:
        places = jax.tree.map(split, kept)
    return dataclasses.replace(shardings, opt_state=places)


def sharded_optimizer(
    optimizer: optax.GradientTransformationExtraArgs, mesh: Mesh
) -> optax.GradientTransformationExtraArgs:
    """Returns the same optimiser, for a state that `state_shardings` splits.

    The gradients that it takes and the updates that it gives are whole on every device. Without
    that the compiler would split what gradients are computed from like the optimiser's state, back
    to the statistics of BatchNorm, only to gather it again.

    Args:
        optimizer: of the steps.
        mesh: devices.
    """
    whole = replicated(mesh)

    def update(gradients: Any, opt_state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        gradients = lax.with_sharding_constraint(gradients, whole)
        updates, opt_state = optimizer.update(gradients, opt_state, params, **extra)
        return lax.with_sharding_constraint(updates, whole), opt_state

    return optax.GradientTransformationExtraArgs(optimizer.init, update)


def with_shardings(state: TrainState, shardings: TrainState) -> TrainState:
    """Returns a state's shapes, dtypes and places, as steps are lowered and checkpoints read by.

    Args:
        state: of arrays, or of what has their shapes.
        shardings: of `state_shardings`.

    Returns:
        A tree like the state, of ShapeDtypeStruct.
    """
    return jax.tree.map(
        lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
        state,
        shardings,
    )


def jit_step(step: Step, mesh: Mesh, shardings: TrainState | None = None) -> Step:
    """Compiles a step for batches split over a mesh.

    BatchNorm takes the statistics of the global batch, unless the module cuts it into groups. The
    state is donated: do not use it again.

    Args:
        step: a train step with everything static bound.
        mesh: devices.
        shardings: of the state, given and returned; None where every device holds all of it.

    Returns:
        (state, batch) -> (state, metrics), compiled at its first call; the devices must divide B.
    """
    whole, split = replicated(mesh), split_over_devices(mesh)
    places = shardings or whole
    return jax.jit(
        step,
        in_shardings=(places, split),
        out_shardings=(places, whole),
        donate_argnums=0,
        compiler_options=compiler_options(mesh.devices.flat[0].platform),
    )


def make_sharded(
    make: Callable[[Any], TrainState], seed: int, mesh: Mesh, shard_optimizer: bool = False
) -> TrainState:
    """Computes the state that `make` makes of a seed, each array where `state_shardings` says.

    The seed is an argument of the compiled program, so that one program serves all seeds.

    Args:
        make: uint32 [] -> state.
        seed: from 0 to 2**32 - 1.
        mesh: devices.
        shard_optimizer: as for `state_shardings`.
    """
    given = np.uint32(seed)
    # JAX keeps what it traced here, and has no need to do it again.
    places = state_shardings(jax.eval_shape(make, given), mesh, shard_optimizer)
    options = options_to_run_once(mesh.devices.flat[0].platform)
    return jax.jit(make, out_shardings=places, compiler_options=options)(given)


def pmap_step(step: Step, devices: Sequence[Any] | None = None) -> Step:
    """Compiles a step with pmap.

    State and batch have a leading axis of devices ([D, ...], [D, B / D, ...]), and so has what
    comes out. The state is donated: do not use it again.

    Args:
        step: a train step with everything static bound; it and its module must have been given
            `axis_name="data"`.
        devices: D of them; default all.

    Returns:
        (state, batch) -> (state, metrics), compiled at its first call.
    """
    return jax.pmap(step, axis_name=DATA_AXIS, devices=devices, donate_argnums=0)


def replicate_for_pmap(tree: Any, devices: Sequence[Any]) -> Any:
    """Copies a tree of arrays to every device, with the leading axis that pmap wants.

    Of several processes, each gives its own devices, and has the copies on those.

    Args:
        tree: arrays [...].
        devices: D of them.

    Returns:
        A tree like it, of arrays [D, ...].
    """
    split = split_over_devices(data_mesh(devices))

    def copy(x: Array) -> Array:
        stacked = jax.numpy.broadcast_to(x, (len(devices), *x.shape))
        return jax.device_put(stacked, split)

    return jax.tree.map(copy, tree)
