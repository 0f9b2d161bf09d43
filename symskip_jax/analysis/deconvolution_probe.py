"""A stack of deconvolutions that learns to rebuild images from a frozen activation (figure 3b)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax

from symskip_jax.analysis.frozen import FrozenNetwork
from symskip_jax.analysis.standardize import ChannelScale
from symskip_jax.models.deconvolutions import DeconvolutionStack
from symskip_jax.training.compilation import compiler_options


class Recipe(NamedTuple):
    """How a stack learns.

    epochs: passes over the images.
    batch_size: images a step; what does not fill a batch waits for the next epoch's order.
    learning_rate: of Adam at first; it falls to 0 along a cosine.
    seed: of the initialisation and of the order.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    seed: int


def train_stack(
    stack: DeconvolutionStack,
    network: FrozenNetwork,
    layer: str,
    scale: ChannelScale,
    images_nhwc: Array,
    recipe: Recipe,
) -> tuple[Any, np.ndarray]:
    """Trains a stack to give the clean image back from its activation.

    The loss is the mean squared error of normalised pixels. Activations are computed anew in every
    step: those of all images may not fit into memory.

    Args:
        stack: of deconvolutions.
        network: that the activations are taken from.
        layer: its name.
        scale: of the layer's channels.
        images_nhwc: uint8 [N, H, W, C], on the device.
        recipe: how.

    Returns:
        The stack's parameters, and the mean loss of each epoch, float32 [epochs].
    """
    count = len(images_nhwc)
    batch_size = min(recipe.batch_size, count)
    steps = count // batch_size
    optimizer = optax.adam(optax.cosine_decay_schedule(recipe.learning_rate, recipe.epochs * steps))
    blank = jnp.zeros((1, stack.shape.sizes[0][0], stack.shape.sizes[0][1], stack.shape.channels))

    def step(state: Any, variables: Any, images: Array, indices_b: Array) -> tuple[Any, Array]:
        params, moments = state
        batch = images[indices_b]
        target = network.normalized(batch)
        features = scale(network.activation(variables, layer, batch))

        def loss(params: Any) -> Array:
            output: Any = stack.apply({"params": params}, features)
            return jnp.mean(jnp.square(output - target))

        error, gradient = jax.value_and_grad(loss)(params)
        updates, moments = optimizer.update(gradient, moments)
        return (optax.apply_updates(params, updates), moments), error

    def epoch(state: Any, variables: Any, images: Array, order_sb: Array) -> tuple[Any, Array]:
        return lax.scan(lambda s, i: step(s, variables, images, i), state, order_sb)

    # XLA's CPU backend runs convolutions in the body of a loop several times slower than outside.
    in_steps = jax.default_backend() == "cpu"
    advance = jax.jit(
        step if in_steps else epoch, donate_argnums=0, compiler_options=compiler_options()
    )
    # RandomState, because numpy keeps its streams for ever and those of Generator may change.
    random = np.random.RandomState(recipe.seed)
    params = stack.init(jax.random.key(recipe.seed), blank)["params"]
    state = params, optimizer.init(params)
    losses = []
    for _ in range(recipe.epochs):
        errors = []
        order = random.permutation(count)[: steps * batch_size].reshape(steps, batch_size)
        for indices in order if in_steps else order[None]:
            state, error = advance(state, network.variables, images_nhwc, jnp.asarray(indices))
            errors.append(error)
        losses.append(np.mean(jax.device_get(errors)))
    return state[0], np.array(losses, np.float32)
