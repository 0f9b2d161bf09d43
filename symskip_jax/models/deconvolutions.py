"""The stack of deconvolutions that rebuilds an image from one activation (section 5.1)."""

import dataclasses

import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from symskip_jax.models.layers import Deconv

KERNEL = 3


@dataclasses.dataclass(frozen=True)
class StackShape:
    """The table of a stack.

    Attributes:
        channels: of the activation that goes in.
        widths: of what each deconvolution gives; the last has the image's channels.
        sizes: (height, width) of what each gives; the stride is 2 where it grows, else 1.
    """

    channels: int
    widths: tuple[int, ...]
    sizes: tuple[tuple[int, int], ...]

    @property
    def parameters(self) -> int:
        """How many there are, kernels and biases."""
        inputs = (self.channels, *self.widths)
        return sum((KERNEL**2 * a + 1) * b for a, b in zip(inputs, self.widths, strict=False))


def stack_shape(
    activation: tuple[int, int, int],
    image: tuple[int, int, int],
    *,
    layers: int,
    parameters: int,
) -> StackShape:
    """Returns the stack of so many layers whose parameters come closest to a number.

    The widths inside are all alike but for the first, so that activations with more or fewer
    channels get stacks of the same number of parameters to a fraction of a percent.

    Args:
        activation: (h, w, channels); h and w are the image's, halved and rounded up some times.
        image: (H, W, channels).
        layers: deconvolutions, 3 at least and no fewer than halvings; the last ones enlarge.
        parameters: to come close to.
    """
    doublings = sizes_between(activation[:2], image[:2])
    sizes = (activation[:2],) * (layers - len(doublings)) + doublings

    def stack(first: int, others: int) -> StackShape:
        inside = (first, *([others] * (layers - 2)))
        return StackShape(activation[2], (*inside, image[2]), sizes)

    even = 1
    while stack(even + 1, even + 1).parameters <= parameters:
        even += 1
    others, stacks = 1, []
    narrowest = max(1, even // 2)
    while stack(narrowest, others).parameters <= parameters:
        others += 1
    for first in range(narrowest, 2 * even + 2):
        while others > 1 and stack(first, others).parameters > parameters:
            others -= 1
        stacks += [stack(first, others), stack(first, others + 1)]

    def unlikeness(candidate: StackShape) -> tuple[int, int, int]:
        missed = abs(candidate.parameters - parameters)
        first, second, *_ = candidate.widths
        # Within a thousandth the most even one.
        return max(missed, parameters // 1000), abs(first - second), missed

    return min(stacks, key=unlikeness)


def sizes_between(
    activation: tuple[int, int], image: tuple[int, int]
) -> tuple[tuple[int, int], ...]:
    """Returns the sizes from behind an activation's up to the image's, each the next one halved.

    Raises:
        ValueError: halving the image and rounding up never gives the activation's size.
    """
    sizes = [image]
    while sizes[-1] != activation:
        if max(sizes[-1]) == 1 or min(activation) < 1:
            raise ValueError(f"{activation} is not {image} halved some times")
        height, width = sizes[-1]
        sizes.append((-(-height // 2), -(-width // 2)))
    return tuple(reversed(sizes[:-1]))


class DeconvolutionStack(nn.Module):
    """3x3 deconvolutions with biases, ReLU between them.

    Shapes: [B, h, w, channels] -> [B, H, W, image channels], float32.
    """

    shape: StackShape

    @nn.compact
    def __call__(self, features_bhwc: Array) -> Array:
        x = features_bhwc
        for i, (width, size) in enumerate(zip(self.shape.widths, self.shape.sizes, strict=True)):
            stride = 1 if size == x.shape[1:3] else 2
            x = nn.relu(x) if i else x
            x = Deconv(width, KERNEL, stride, "he", jnp.float32, use_bias=True, name=str(i))(
                x, size
            )
        return x
