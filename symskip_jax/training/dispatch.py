"""Runs steps over a dataset that lies on the device: nothing but scalars crosses the bus."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import Mesh, NamedSharding

from symskip_jax.data.order import epoch_order
from symskip_jax.training.compilation import compiler_options
from symskip_jax.training.mesh import Step, put_whole, replicated, split_over_devices
from symskip_jax.training.state import TrainState
from symskip_jax.training.steps import Batch, Metrics

# (state, its step, number of steps n) -> (state, metrics of each step [n, ...])
Advance = Callable[[TrainState, int, int], tuple[TrainState, dict[str, np.ndarray]]]
# (state, data, order of the epoch) -> (state, metrics): one step.
Take = Callable[[TrainState, Batch, Array], tuple[TrainState, Metrics]]
# (state, data, order of the epoch, number of steps n) -> (state, metrics of each step [n, ...])
Run = Callable[[TrainState, Batch, Array, int], tuple[TrainState, dict[str, np.ndarray]]]


def resident_advance(
    step: Step,
    mesh: Mesh,
    data: Batch,
    *,
    batch_size: int,
    seed: int,
    steps_per_dispatch: int,
    shardings: TrainState | None = None,
) -> Advance:
    """Compiles a step that draws its batches from data on the device.

    Each epoch visits the images in the order `epoch_order(seed, epoch)` and leaves out the few that
    fill no batch. On accelerators one dispatch takes many steps.

    Args:
        step: pretrain_step, finetune_step or head_step with everything static bound.
        mesh: devices; the data is replicated, the batch is split.
        data: `image` [N, H, W, C] uint8 and `label` [N] int32.
        batch_size: B; at most N, and a multiple of the number of devices.
        seed: of the order.
        steps_per_dispatch: most steps that are asked for at once.
        shardings: of the state; see `jit_step`.

    Returns:
        A function that takes n steps, at most to the end of the epoch that the state is in. The
        state is donated: do not use it again.
    """
    count = len(data["label"])
    steps_per_epoch = count // batch_size
    whole = replicated(mesh)
    data = put_whole(dict(data), mesh)
    order_of = jax.jit(
        functools.partial(epoch_order, seed, count=count, xp=jnp), out_shardings=whole
    )
    take = drawing(step, steps_per_epoch, batch_size, split_over_devices(mesh))
    # XLA's CPU backend runs convolutions in the body of a loop several times slower than outside.
    if mesh.devices.flat[0].platform == "cpu":
        run = one_by_one(take, mesh, shardings)
    else:
        run = in_a_loop(take, mesh, steps_per_dispatch, shardings)

    def advance(
        state: TrainState, first_step: int, n: int
    ) -> tuple[TrainState, dict[str, np.ndarray]]:
        epoch = put_whole(np.int32(first_step // steps_per_epoch), mesh)
        with jax.transfer_guard("disallow"):
            return run(state, data, order_of(epoch), n)

    return advance


def drawing(step: Step, steps_per_epoch: int, batch_size: int, split: NamedSharding) -> Take:
    """Returns a step that takes its batch from the data, at its place in the order of the epoch."""

    def take(state: TrainState, data: Batch, order: Array) -> tuple[TrainState, Metrics]:
        start = state.step % steps_per_epoch * batch_size
        chosen = lax.dynamic_slice_in_dim(order, start, batch_size)
        batch = {name: values[chosen] for name, values in data.items()}
        return step(state, lax.with_sharding_constraint(batch, split))

    return take


def one_by_one(take: Take, mesh: Mesh, shardings: TrainState | None = None) -> Run:
    """Compiles a step for a CPU, and dispatches each of the n steps."""
    whole = replicated(mesh)
    places = shardings or whole
    compiled = jax.jit(
        take,
        in_shardings=(places, whole, whole),
        out_shardings=(places, whole),
        donate_argnums=0,
        compiler_options=compiler_options("cpu"),
    )

    def run(
        state: TrainState, data: Batch, order: Array, n: int
    ) -> tuple[TrainState, dict[str, np.ndarray]]:
        rows = []
        for _ in range(n):
            state, measured = compiled(state, data, order)
            rows.append(measured)
        return state, fetched(rows)

    return run


def in_a_loop(take: Take, mesh: Mesh, most: int, shardings: TrainState | None = None) -> Run:
    """Compiles a loop over a step, and dispatches the n steps, up to `most`, at once."""
    whole = replicated(mesh)
    places = shardings or whole

    def loop(state: TrainState, data: Batch, order: Array, n: Array) -> tuple[TrainState, Metrics]:
        shapes = jax.eval_shape(take, state, data, order)[1]
        buffers = {k: jnp.zeros((most, *v.shape), v.dtype) for k, v in shapes.items()}

        def body(i: Array, carry: tuple[TrainState, Metrics]) -> tuple[TrainState, Metrics]:
            state, buffers = carry
            state, measured = take(state, data, order)
            return state, {k: buffers[k].at[i].set(measured[k]) for k in buffers}

        return lax.fori_loop(0, n, body, (state, buffers))

    compiled = jax.jit(
        loop,
        in_shardings=(places, whole, whole, whole),
        out_shardings=(places, whole),
        donate_argnums=0,
    )

    def run(
        state: TrainState, data: Batch, order: Array, n: int
    ) -> tuple[TrainState, dict[str, np.ndarray]]:
        state, measured = compiled(state, data, order, put_whole(np.int32(n), mesh))
        return state, {k: v[:n] for k, v in jax.device_get(measured).items()}

    return run


def fetched(rows: list[Metrics]) -> dict[str, np.ndarray]:
    """Returns the metrics of n steps on the host, [n, ...] by name."""
    fetched = jax.device_get(rows)
    return {name: np.array([row[name] for row in fetched]) for name in fetched[0]}
