"""Optimisers and their learning rates: those of section 4 and supplements B and C, and others."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

ADAM = optax.scale_by_adam()


def milestone_schedule(
    learning_rate: float, milestones: Sequence[float], factor: float, steps_per_epoch: int
) -> optax.Schedule:
    """Multiplies the rate at milestones, as the paper does (supplement B).

    Args:
        learning_rate: at first.
        milestones: in epochs, fractions included.
        factor: that the rate is multiplied by at each.
        steps_per_epoch: steps that an epoch has.

    Returns:
        The learning rate of each step.
    """
    boundaries: dict[int, float] = {}
    for epoch in milestones:
        step = round(epoch * steps_per_epoch)
        boundaries[step] = boundaries.get(step, 1.0) * factor
    return optax.piecewise_constant_schedule(learning_rate, boundaries)


def warmed_up(schedule: optax.Schedule, warmup_steps: int, first_step: int = 0) -> optax.Schedule:
    """Multiplies the rates from `first_step` on by 0, 1 / warmup_steps, 2 / warmup_steps ..."""
    if warmup_steps == 0:
        return schedule

    def warming(step: Any) -> Array:
        share = jnp.where(step < first_step, 1.0, (step - first_step) / warmup_steps)
        return schedule(step) * jnp.minimum(1.0, share)

    return warming


def cosine_schedule(learning_rate: float, held_steps: int, total_steps: int) -> optax.Schedule:
    """Holds the rate for the first steps, then lets it fall to 0 as half a cosine.

    Loshchilov and Hutter 2017, without restarts; not of the paper.

    Args:
        learning_rate: at first.
        held_steps: steps before it falls.
        total_steps: steps after which it is 0.

    Returns:
        The learning rate of each step.
    """
    held = optax.constant_schedule(learning_rate)
    falling = optax.cosine_decay_schedule(learning_rate, max(1, total_steps - held_steps))
    return optax.join_schedules([held, falling], [held_steps])


def adamw(weight_decay: float) -> optax.GradientTransformation:
    """Returns Adam whose decay of the kernels is apart from the gradient and its moments.

    Biases and BatchNorm's parameters do not decay.
    """
    return optax.chain(ADAM, optax.add_decayed_weights(weight_decay, mask=_is_kernel))


def sgd(momentum: float, weight_decay: float) -> optax.GradientTransformation:
    """Returns gradient descent with momentum (supplement C).

    `weight_decay` times each parameter, BatchNorm's too, is part of its gradient, as in ResNets.
    """
    return optax.chain(optax.add_decayed_weights(weight_decay), optax.trace(momentum))


def make_optimizer(
    schedule: optax.Schedule,
    *,
    rule: optax.GradientTransformation = ADAM,
    plateau_patience: int = 0,
    plateau_factor: float = 0.1,
    steps_per_epoch: int = 1,
    frozen: Sequence[str] = (),
    frozen_steps: int = 0,
) -> optax.GradientTransformationExtraArgs:
    """Returns an optimiser under a schedule (section 4); its `update` takes the loss as `value`.

    Args:
        schedule: learning rate of each step.
        rule: from gradients to what the rate is multiplied with, of optax: Adam (Kingma and Ba
            2015) or another; `optax.trace(0.9)` is SGD with momentum (supplement C).
        plateau_patience: multiply the rate by `plateau_factor` when the mean loss of an epoch has
            not dropped for this many epochs (section 4); 0 for never.
        plateau_factor: see above.
        steps_per_epoch: steps that the mean of the plateau rule is taken over.
        frozen: top-level names of parameters that stay as they are for the first `frozen_steps`
            steps. Their moments start when they thaw.
        frozen_steps: see above.

    Returns:
        An optax optimiser; the steps of this package tell it the loss.
    """
    if frozen_steps > 0:
        thawing = optax.conditionally_mask(rule, lambda step, **_: step >= frozen_steps)
        rule = optax.partition(
            {"free": rule, "frozen": thawing},
            lambda params: {name: "frozen" if name in frozen else "free" for name in params},
        )
    parts = [rule, optax.scale_by_learning_rate(schedule)]
    if plateau_patience > 0:
        plateau = optax.contrib.reduce_on_plateau(
            factor=plateau_factor,
            patience=plateau_patience,
            accumulation_size=steps_per_epoch,
        )
        parts.append(plateau)
    return optax.with_extra_args_support(optax.chain(*parts))


def plateau_scale(opt_state: Any) -> float:
    """Returns what the plateau rule has multiplied the learning rate by so far."""
    kind = optax.contrib.ReduceLROnPlateauState
    nodes = jax.tree.leaves(opt_state, is_leaf=lambda node: isinstance(node, kind))
    return next((float(node.scale) for node in nodes if isinstance(node, kind)), 1.0)


def _is_kernel(params: Any) -> Any:
    return jax.tree.map_with_path(lambda path, _: path[-1].key == "kernel", params)
