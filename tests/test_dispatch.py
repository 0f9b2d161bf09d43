"""Many steps in one dispatch are the same steps."""

import functools

import jax
import numpy as np
import pytest
import tiny

from symskip_jax.data.order import epoch_order
from symskip_jax.training.dispatch import drawing, in_a_loop, one_by_one
from symskip_jax.training.mesh import data_mesh, replicated, split_over_devices
from symskip_jax.training.schedules import make_optimizer, milestone_schedule
from symskip_jax.training.steps import finetune_step
from symskip_jax.transforms import Augmentation, FinetuneTransform


@pytest.mark.parametrize("devices", [1, 8])
def test_a_loop_on_the_device_takes_the_steps_that_single_dispatches_take(devices: int) -> None:
    mesh = data_mesh(jax.devices()[:devices])
    whole = replicated(mesh)
    model = tiny.classifier()
    optimizer = make_optimizer(
        milestone_schedule(1e-2, (1,), 0.1, 3),
        plateau_patience=1,
        steps_per_epoch=3,
        frozen=("encoder",),
        frozen_steps=2,
    )
    step = functools.partial(
        finetune_step,
        model=model,
        optimizer=optimizer,
        transform=FinetuneTransform(Augmentation((8, 8), True), tiny.NOISE, 0.5),
        normalization=tiny.NORMALIZATION,
    )
    take = drawing(step, 3, 16, split_over_devices(mesh))
    data, order = jax.device_put((tiny.make_batch(50), epoch_order(0, 0, 50)), whole)
    results = []
    for run in (one_by_one(take, mesh), in_a_loop(take, mesh, most=5)):
        state = jax.device_put(tiny.make_state(model, optimizer), whole)
        results.append(jax.device_get(run(state, data, order, 3)))
    (state, measured), (looped, measured_in_loop) = results
    assert looped.step == state.step == 3
    assert {len(values) for values in measured_in_loop.values()} == {3}
    assert len(np.unique(measured["loss"])) == 3
    tiny.assert_close(measured_in_loop, measured, rtol=1e-4)
    tiny.assert_close(looped.params, state.params, rtol=1e-4)
    tiny.assert_close(looped.batch_stats, state.batch_stats, rtol=1e-4)
