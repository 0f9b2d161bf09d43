"""Adam with the learning rates of section 4 and supplement B."""

from collections.abc import Sequence
from typing import Any

import jax
import optax


def milestone_schedule(
    learning_rate: float, milestones: Sequence[float], factor: float, steps_per_epoch: int
) -> optax.Schedule:
    """Multiplies `learning_rate` by `factor` at each of `milestones` (in epochs)."""
    boundaries: dict[int, float] = {}
    for epoch in milestones:
        step = round(epoch * steps_per_epoch)
        boundaries[step] = boundaries.get(step, 1.0) * factor
    return optax.piecewise_constant_schedule(learning_rate, boundaries)


def make_optimizer(
    schedule: optax.Schedule,
    *,
    plateau_patience: int = 0,
    plateau_factor: float = 0.1,
    steps_per_epoch: int = 1,
    frozen: Sequence[str] = (),
    frozen_steps: int = 0,
) -> optax.GradientTransformationExtraArgs:
    """Returns Adam under a schedule; its `update` takes the loss as `value`.

    Args:
        schedule: learning rate of each step.
        plateau_patience: multiply the rate by `plateau_factor` when the mean loss of an epoch has
            not dropped for this many epochs (section 4); 0 for never.
        plateau_factor: see above.
        steps_per_epoch: steps that the mean of the plateau rule is taken over.
        frozen: top-level names of parameters that stay as they are for the first `frozen_steps`
            steps. Their moments start when they thaw.
        frozen_steps: see above.
    """
    adam = optax.scale_by_adam()
    if frozen_steps > 0:
        thawing = optax.conditionally_mask(adam, lambda step, **_: step >= frozen_steps)
        adam = optax.partition(
            {"free": adam, "frozen": thawing},
            lambda params: {name: "frozen" if name in frozen else "free" for name in params},
        )
    parts = [adam, optax.scale_by_learning_rate(schedule)]
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
