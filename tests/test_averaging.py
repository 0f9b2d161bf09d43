"""Averages of weights: what they are, and that training does not know of them."""

import jax
import numpy as np
import pytest
import tiny

from symskip_jax.training.averaging import averaged_variables, averaging, start_average
from symskip_jax.training.schedules import make_optimizer, milestone_schedule

DECAY = 0.7


@pytest.mark.parametrize("patience", [0, 1])
def test_the_average_is_the_exponential_one_of_the_states_after_each_step(patience):
    model = tiny.classifier(tiny.ONE_LAYER)
    optimizer = make_optimizer(milestone_schedule(1e-2, (), 0.1, 1), plateau_patience=patience)
    step = tiny.bind_finetune(model, optimizer, tiny.NO_CORRUPTION, flip=True)
    plain, averaged = jax.jit(step), jax.jit(averaging(step, DECAY))
    state = tiny.make_state(model, optimizer)
    kept = start_average(state, DECAY)
    tiny.assert_same(averaged_variables(kept), state.variables)
    passed = []
    for i in range(4):
        batch = tiny.make_batch(16, seed=i)
        state, measured = plain(state, batch)
        kept, measured_too = averaged(kept, batch)
        passed.append(state.variables)
        weights = DECAY ** np.arange(i, -1.0, -1.0)
        expected = jax.tree.map(lambda *xs, w=weights: np.average(xs, axis=0, weights=w), *passed)
        tiny.assert_close(averaged_variables(kept), expected, rtol=1e-5)
        tiny.assert_close(kept.variables, state.variables, rtol=1e-6)
        tiny.assert_close(measured_too, measured, rtol=1e-5)
    tiny.assert_close(kept.opt_state.inner, state.opt_state, rtol=1e-5)


def test_without_a_decay_nothing_is_another():
    model, step = tiny.classifier(tiny.ONE_LAYER), object()
    state = tiny.make_state(model, tiny.sgd(0.1))
    assert start_average(state, 0.0) is state
    assert averaging(step, 0.0) is step
    tiny.assert_same(averaged_variables(state), state.variables)
