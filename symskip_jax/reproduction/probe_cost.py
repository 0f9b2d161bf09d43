"""What probes of all layers of a network cost; see `symskip_jax.analysis`."""

import itertools

from ml_collections import ConfigDict

from symskip_jax.experiments import setup
from symskip_jax.experiments.probe import MIN_DECONVOLUTIONS
from symskip_jax.models.deconvolutions import KERNEL, StackShape, sizes_between, stack_shape

# Of L-BFGS, each one value and gradient: as many as it takes at most, and often does.
_ITERATIONS = 500
_CLASSES = 10


def probe_flops(config: ConfigDict, test: int, rebuilds: bool) -> float:
    """Counts the operations of probing every layer of an encoder.

    By convolutions, deconvolutions and matrix products alone.

    Args:
        config: `probe` is the recipe.
        test: how many images are measured on.
        rebuilds: a stack of deconvolutions learns too, after softmax regression.
    """
    recipe, labels = config.probe, config.probe.num_labels
    spec, channels = setup.make_spec(config), config.data.channels or 3
    sizes = spec.sizes(*config.data.crop)
    widths = [channels, *(layer.width for layer in spec.layers)]
    shapes = [(*size, width) for size, width in zip(sizes[1:], widths[1:], strict=True)]
    layers = [
        2 * height * columns * layer.kernel**2 * fan_in * width
        for layer, (height, columns, width), fan_in in zip(
            spec.layers, shapes, widths, strict=False
        )
    ]
    depth = max(MIN_DECONVOLUTIONS, *(len(sizes_between(shape[:2], sizes[0])) for shape in shapes))
    batch = min(recipe.batch_size, labels)
    learnt = recipe.epochs * (labels // batch * batch)
    # Each penalty is tried, and the best one fitted again; an image has as many coordinates as
    # there are images.
    fits = len(recipe.l2) + (len(recipe.l2) > 1)
    fitting = fits * _ITERATIONS * 4.0 * labels**2 * _CLASSES
    total = 0.0
    for features, shape in zip(itertools.accumulate(layers), shapes, strict=True):
        total += features * (labels + test) + fitting
        if rebuilds:
            image = (*sizes[0], channels)
            table = stack_shape(shape, image, layers=depth, parameters=recipe.parameters)
            stack = _stack_flops(table, shape[:2])
            # First the scale of the channels is measured.
            total += features * labels + (features + 3 * stack) * learnt
            total += (features + stack) * test
    return total


def _stack_flops(table: StackShape, size: tuple[int, int]) -> int:
    """Returns the operations of one image's pass; each input is spread over a kernel's outputs."""
    fan_ins = (table.channels, *table.widths)
    return sum(
        2 * height * columns * KERNEL**2 * fan_in * width
        for (height, columns), fan_in, width in zip(
            (size, *table.sizes), fan_ins, table.widths, strict=False
        )
    )
