"""Exponential moving averages of what a network has learnt, beside a training that ignores them."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symskip_jax.training.mesh import Step
from symskip_jax.training.state import Averaged, TrainState
from symskip_jax.training.steps import Batch, Metrics


def start_average(state: TrainState, decay: float) -> TrainState:
    """Returns a state before the first step, for a step of `averaging` with the same `decay`."""
    if decay == 0:
        return state
    # A copy, as the state will be donated and no buffer can be given twice.
    average = jax.tree.map(jnp.copy, state.variables)
    return dataclasses.replace(state, opt_state=Averaged(state.opt_state, average))


def averaged_shapes(make: Callable[[Any], TrainState], decay: float) -> TrainState:
    """Returns the shapes and dtypes of `start_average` of what `make` makes of a seed."""
    return jax.eval_shape(lambda seed: start_average(make(seed), decay), np.uint32(0))


def averaging(step: Step, decay: float) -> Step:
    """Returns a step that takes `step` and then averages the parameters and statistics.

    After n steps the average is that of the n states, the weight of each `decay` times that of the
    next; the state before the first has none. BatchNorm's running statistics are averaged like the
    parameters that they belong to.

    Args:
        step: a train step with everything static bound.
        decay: from 0 to below 1; 0 gives `step` itself.

    Returns:
        A step of states that `start_average` has made.
    """
    if decay == 0:
        return step

    def averaging_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        kept: Averaged = state.opt_state
        new, measured = step(dataclasses.replace(state, opt_state=kept.inner), batch)
        # The share of the newest in a sum of weights: 1 / (1 + decay + ... + decay^(n - 1)).
        share = (1 - decay) / -jnp.expm1(new.step * math.log(decay))
        average = jax.tree.map(lambda old, x: old + share * (x - old), kept.average, new.variables)
        return dataclasses.replace(new, opt_state=Averaged(new.opt_state, average)), measured

    return averaging_step


def averaged_variables(state: TrainState | Mapping[str, Any]) -> dict[str, Any]:
    """Returns the variables to measure and to hand on: the averaged ones if there are any.

    Args:
        state: of a run, or as `symskip_jax.training.checkpoints.load_variables` gives it back, with
            dictionaries for named tuples.
    """
    if isinstance(state, TrainState):
        kept = state.opt_state
        return kept.average if isinstance(kept, Averaged) else state.variables
    kept: Any = state.get("opt_state")  # what was imported has none
    has_average = isinstance(kept, Mapping) and set(kept) == set(Averaged._fields)
    found: Mapping[str, Any] = kept["average"] if has_average else state
    # A network without BatchNorm has no statistics, and a checkpoint keeps no empty branch.
    return {"params": found["params"], "batch_stats": found.get("batch_stats") or {}}
