"""Everything that training changes, as one tree of arrays."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct
from jax import Array


class Averaged(NamedTuple):
    """State of an optimiser, and the average of weights that is kept beside it.

    Attributes:
        inner: state of the optimiser.
        average: `params` and `batch_stats`, trees like those of the state.
    """

    inner: Any
    average: dict[str, Any]


@struct.dataclass
class TrainState:
    """State of a run.

    Attributes:
        step: int32 [], steps taken.
        params: float32 tree; top level `encoder` and `decoder`, or `encoder` and `head`.
        batch_stats: float32 tree of BatchNorm's running means and variances; empty without it.
        opt_state: state of the optax optimiser; of a run of the command that averages weights a
            pair of that, `inner`, and of `average`, the trees `params` and `batch_stats`.
        key: uint32 [2], data of the run's random key; never changes. Step k draws from
            fold_in(key, k) alone.
    """

    step: Array
    params: Any
    batch_stats: Any
    opt_state: Any
    key: Array

    def step_key(self) -> Array:
        """Returns the random key of the coming step."""
        return jax.random.fold_in(jax.random.wrap_key_data(self.key), self.step)

    @property
    def variables(self) -> dict[str, Any]:
        """The variables that a Flax module is applied to."""
        return {"params": self.params, "batch_stats": self.batch_stats}


def init_state(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    seed: int | Array,
    image_shape: tuple[int, int, int],
) -> TrainState:
    """Returns the state before the first step.

    Args:
        model: an AutoEncoder, a Classifier or a Segmenter.
        optimizer: of the steps to come.
        seed: decides the parameters and every later draw; uint32 [] as an array.
        image_shape: (H, W, C) of the network's input.

    Returns:
        The state at step 0, float32, on the default device.
    """
    init_key, run_key = jax.random.split(jax.random.key(seed))
    variables = model.init(init_key, jnp.zeros((1, *image_shape)), train=False)
    # A network without BatchNorm has no statistics.
    batch_stats = variables.get("batch_stats", {})
    return new_state(variables["params"], batch_stats, optimizer, run_key)


def new_state(
    params: Any, batch_stats: Any, optimizer: optax.GradientTransformation, key: Array
) -> TrainState:
    """Returns the state at step 0 of the given variables; `key` is a typed random key."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=batch_stats,
        opt_state=optimizer.init(params),
        key=jax.random.key_data(key),
    )
