import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from symskip_jax.models.layers import strided_convolution, transposed_convolution


def whole_numbers(*shape, seed):
    """Small whole numbers, whose products and sums float32 holds exactly."""
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(np.float32)


@settings(max_examples=25)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    kernel_and_stride=st.sampled_from([(3, 2), (3, 1), (1, 1), (5, 2), (3, 3), (5, 3)]),
)
def test_transposed_convolution_is_the_transpose_to_the_exact_size(
    height, width, kernel_and_stride
):
    kernel_size, stride = kernel_and_stride
    kernel = whole_numbers(kernel_size, kernel_size, 2, 3, seed=0)  # from 2 channels to 3
    images = jax.ShapeDtypeStruct((1, height, width, 2), jnp.float32)

    def convolve(x):
        return strided_convolution(x, kernel, stride)

    features = jax.eval_shape(convolve, images)
    assert features.shape == (1, -(-height // stride), -(-width // stride), 3)
    values = whole_numbers(*features.shape, seed=1)
    (expected,) = jax.jit(jax.linear_transpose(convolve, images))(values)
    got = jax.jit(transposed_convolution, static_argnums=(2, 3))(
        values, kernel.swapaxes(2, 3), stride, (height, width)
    )
    np.testing.assert_array_equal(got, expected)


def input_dilations(function, *arguments):
    """The input dilations of all convolutions that a function traces to."""

    def walk(jaxpr):
        for equation in jaxpr.eqns:
            if equation.primitive.name == "conv_general_dilated":
                yield equation.params["lhs_dilation"]
            for value in equation.params.values():
                inner = getattr(value, "jaxpr", value)
                if hasattr(inner, "eqns"):
                    yield from walk(inner)

    return list(walk(jax.make_jaxpr(function)(*arguments).jaxpr))


def with_gradients(function):
    def run(x, kernel):
        y, pull_back = jax.vjp(function, x, kernel)
        return y, pull_back(y)

    return run


def test_transposed_convolution_dilates_no_input_in_either_direction():
    kernel = jnp.ones((3, 3, 2, 2))
    deconvolve = with_gradients(lambda x, k: transposed_convolution(x, k, 2, (9, 6)))
    dilations = input_dilations(deconvolve, jnp.ones((1, 5, 3, 2)), kernel)
    assert len(dilations) == 3 * 4  # forward and two gradients of four phases
    assert set(dilations) == {(1, 1)}
    # The walk does see the one there is in the gradient of a strided convolution.
    convolve = with_gradients(lambda x, k: strided_convolution(x, k, 2))
    assert (2, 2) in input_dilations(convolve, jnp.ones((1, 9, 6, 2)), kernel)
