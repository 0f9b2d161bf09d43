"""Runs steps over a dataset that lies on the device: nothing but scalars crosses the bus."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import Mesh

from symskip_jax.training.mesh import Step, replicated, split_over_devices
from symskip_jax.training.state import TrainState
from symskip_jax.training.steps import Batch, Metrics

# (state, first step, number of steps) -> (state, metrics of each step [n])
Advance = Callable[[TrainState, int, int], tuple[TrainState, dict[str, np.ndarray]]]


def epoch_order(seed: int, epoch: int, count: int) -> Array:
    """Returns the order [count] in which an epoch visits the images; int32."""
    return jax.random.permutation(jax.random.fold_in(jax.random.key(seed), epoch), count)


def resident_advance(
    step: Step,
    mesh: Mesh,
    data: Batch,
    *,
    batch_size: int,
    seed: int,
    steps_per_dispatch: int,
) -> Advance:
    """Compiles a step that draws its batches from data on the device.

    Each epoch visits the images in the order `epoch_order(seed, epoch)` and leaves out the few that
    fill no batch. On accelerators one dispatch takes many steps.

    Args:
        step: pretrain_step, finetune_step or head_step with everything static bound.
        mesh: devices; the state and the data are replicated, the batch is split.
        data: `image` [N, H, W, C] uint8 and `label` [N] int32.
        batch_size: B; at most N, and a multiple of the number of devices.
        seed: of the order.
        steps_per_dispatch: most steps that are asked for at once.
    """
    count = len(data["label"])
    steps_per_epoch = count // batch_size
    whole, split = replicated(mesh), split_over_devices(mesh)
    data = jax.device_put(dict(data), whole)
    order_of = jax.jit(functools.partial(epoch_order, count=count), out_shardings=whole)

    def one(state: TrainState, data: Batch, order: Array) -> tuple[TrainState, Metrics]:
        start = state.step % steps_per_epoch * batch_size
        chosen = lax.dynamic_slice_in_dim(order, start, batch_size)
        batch = {name: values[chosen] for name, values in data.items()}
        return step(state, lax.with_sharding_constraint(batch, split))

    def many(state: TrainState, data: Batch, order: Array, n: Array) -> tuple[TrainState, Metrics]:
        shapes = jax.eval_shape(one, state, data, order)[1]
        buffers = {k: jnp.zeros(steps_per_dispatch, v.dtype) for k, v in shapes.items()}

        def body(i: Array, carry: tuple[TrainState, Metrics]) -> tuple[TrainState, Metrics]:
            state, buffers = carry
            state, measured = one(state, data, order)
            return state, {k: buffers[k].at[i].set(measured[k]) for k in buffers}

        return lax.fori_loop(0, n, body, (state, buffers))

    compiled_one = jax.jit(one, donate_argnums=0, out_shardings=whole)
    compiled_many = jax.jit(many, donate_argnums=0, out_shardings=whole)
    # XLA's CPU backend runs convolutions in the body of a loop several times slower than outside.
    loops = mesh.devices.flat[0].platform != "cpu"

    def advance(
        state: TrainState, first_step: int, n: int
    ) -> tuple[TrainState, dict[str, np.ndarray]]:
        order = order_of(seed, first_step // steps_per_epoch)
        if loops:
            state, measured = compiled_many(state, data, order, n)
            return state, {k: np.asarray(v)[:n] for k, v in measured.items()}
        rows = []
        for _ in range(n):
            state, measured = compiled_one(state, data, order)
            rows.append(measured)
        fetched = jax.device_get(rows)
        return state, {k: np.array([row[k] for row in fetched]) for k in fetched[0]}

    return advance
