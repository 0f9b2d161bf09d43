"""How many operations training takes, counted from the table."""

from symskip_jax.models.specs import Spec


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
