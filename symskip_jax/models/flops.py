"""How many operations a network takes, counted from its table or by XLA."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from symskip_jax.models.specs import Spec

# A gradient step costs a forward pass, and as much again for the gradients of the activations and
# for those of the kernels.
PASSES_PER_STEP = 3


def forward_flops(model: nn.Module, image_shape: tuple[int, int, int]) -> float:
    """Counts the floating-point operations of one image's forward pass.

    XLA counts them in the network as it is before optimisation, a multiplication and an addition
    being two; nothing is compiled.

    Args:
        model: of any kind.
        image_shape: (H, W, C).
    """
    image = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)
    lowered = jax.jit(lambda v, x: model.apply(v, x, train=False)).lower(variables, image)
    analysis = lowered.cost_analysis()
    return float(analysis["flops"]) if analysis else 0.0


def step_flops(spec: Spec, channels: int, image_size: tuple[int, int], batch_size: int) -> int:
    """Counts the floating-point operations of a pre-training step's convolutions.

    Encoder and mirrored decoder; of each layer the output, the gradient of the input and that of
    the kernel, which take equally many, but for the first layer, whose input needs no gradient. A
    multiplication and an addition are two; products with the zeros of the padding count too.
    Everything else in a step (BatchNorm, ReLU, corruption, Adam) is left out: it is bound by
    memory, not by operations. So are the 1x1 shortcuts of `wide_resnet`, about 1 % of the rest.

    Args:
        spec: the encoder's table.
        channels: of the images.
        image_size: (H, W) that the network sees.
        batch_size: images a step.
    """
    sizes = spec.sizes(*image_size)
    total, fan_in = 0, channels
    for i, ((kernel, _, width), (height, columns)) in enumerate(
        zip(spec.layers, sizes[1:], strict=True)
    ):
        once = 2 * batch_size * height * columns * kernel**2 * fan_in * width
        # The mirror takes as many: each of its inputs is spread over kernel x kernel outputs.
        convolution, deconvolution = (2 if i == 0 else 3), 3
        total += (convolution + deconvolution) * once
        fan_in = width
    return total
