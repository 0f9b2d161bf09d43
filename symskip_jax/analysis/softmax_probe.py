"""Softmax regression on a frozen activation (section 5.1, figure 3a)."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.linalg
from jax import Array, lax

from symskip_jax.data.splits import draw_labelled

# One image in five is held out while the strength of the penalty is chosen.
HELD_OUT = 5
_MAX_ITERATIONS = 500
_GRADIENT_NORM = 1e-4
# Of the mean squared length of an image's features: lets Cholesky pass where images are alike.
_RIDGE = 1e-5


class SoftmaxRegression(NamedTuple):
    """A fitted regression: logits = features @ weights + bias.

    weights_dk: float32 [D, classes].
    bias_k: float32 [classes].
    l2: the penalty it was fitted with.
    gradient_norm: of what was minimised, where it was left: 0 at the minimum.
    """

    weights_dk: Array
    bias_k: Array
    l2: float
    gradient_norm: float

    def logits(self, features_nd: Array) -> Array:
        """Returns the logits [N, classes] of features [N, D]."""
        return jnp.dot(features_nd, self.weights_dk, precision="highest") + self.bias_k


def fit_softmax(
    features_nd: Array, labels_n: np.ndarray, num_classes: int, l2s: Sequence[float], seed: int
) -> SoftmaxRegression:
    """Fits a softmax regression to features, however many more they are than images.

    It minimises the mean cross-entropy plus l2 / 2 times the squared weights (the bias is free), a
    convex problem with one answer. The answer lies in the span of the images' features; so where
    D > N it is looked for among the N coordinates of that span, in which all lengths and angles are
    the features' own. L-BFGS stops at a gradient norm of 1e-4, or after 500 iterations wherever it
    is then: `gradient_norm` says which.

    Args:
        features_nd: float32 [N, D], of about unit length each.
        labels_n: integer [N], every class there.
        num_classes: of the labels.
        l2s: penalties to choose from, by the accuracy on every fifth image of a class, held out; of
            equals the strongest. The choice is then fitted to all images.
        seed: of the held-out images.
    """
    count, width = features_nd.shape
    if width > count:
        gram = np.asarray(jnp.dot(features_nd, features_nd.T, precision="highest"), np.float64)
        gram[np.diag_indices(count)] += _RIDGE * np.trace(gram) / count
        coordinates = np.linalg.cholesky(gram)
        inputs = jnp.asarray(coordinates, jnp.float32)
    else:
        # Columns of zeros, whose weights stay 0: one shape for all layers is compiled once.
        inputs = jnp.pad(features_nd, ((0, 0), (0, count - width)))
    labels = jnp.asarray(labels_n)
    start = jnp.zeros((count, num_classes)), jnp.zeros(num_classes)
    everything, path = jnp.ones(count), sorted(l2s, reverse=True)
    if len(path) > 1:
        held_out = np.zeros(count, bool)
        held_out[draw_labelled(labels_n, max(count // HELD_OUT, 1), seed)] = True
        fitted, best = start, (-1.0, path[0])
        for l2 in path:
            fitted, _ = _minimize(inputs, labels, jnp.asarray(~held_out, jnp.float32), l2, fitted)
            predicted = (inputs @ fitted[0] + fitted[1]).argmax(1)
            accuracy = float((predicted == labels)[held_out].mean())
            if accuracy > best[0]:
                best, start = (accuracy, l2), fitted
        path = [best[1]]
    (weights, bias), norm = _minimize(inputs, labels, everything, path[0], start)
    if width > count:
        dual = scipy.linalg.solve_triangular(coordinates.T, np.float64(weights))
        weights = jnp.dot(features_nd.T, jnp.asarray(dual, jnp.float32), precision="highest")
    return SoftmaxRegression(weights[:width], bias, path[0], float(norm))


@jax.jit
def _minimize(
    inputs_nd: Array, labels_n: Array, weight_n: Array, l2: float, start: tuple[Array, Array]
) -> tuple[tuple[Array, Array], Array]:
    """Runs L-BFGS until the gradient is small, or `_MAX_ITERATIONS` are over.

    Images of weight 0 do not count. Returns weights and bias, and the gradient's norm there.
    """
    optimizer = optax.lbfgs(memory_size=20)

    def objective(parameters: tuple[Array, Array]) -> Array:
        weights, bias = parameters
        logits = jnp.dot(inputs_nd, weights, precision="highest") + bias
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels_n)
        penalty = 0.5 * l2 * jnp.sum(jnp.square(weights))
        return jnp.sum(weight_n * losses) / jnp.sum(weight_n) + penalty

    value_and_grad = optax.value_and_grad_from_state(objective)

    def advance(carry):
        parameters, state, i, _ = carry
        value, gradient = value_and_grad(parameters, state=state)
        updates, state = optimizer.update(
            gradient, state, parameters, value=value, grad=gradient, value_fn=objective
        )
        parameters = optax.apply_updates(parameters, updates)
        return parameters, state, i + 1, optax.tree.norm(gradient)

    def unfinished(carry):
        return (carry[2] < _MAX_ITERATIONS) & (carry[3] > _GRADIENT_NORM)

    carry = start, optimizer.init(start), jnp.zeros((), jnp.int32), jnp.asarray(jnp.inf)
    fitted = lax.while_loop(unfinished, advance, carry)[0]
    return fitted, optax.tree.norm(jax.grad(objective)(fitted))
