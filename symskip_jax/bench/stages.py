"""`symskip bench stages`: where the time of a pre-training step goes, and the least it could be.

Every stage is compiled and timed alone, on random arrays of the shapes that the step has, in turns
with the whole step: each distinct convolution with its two gradients, BatchNorm with ReLU both
ways, Adam, corruption and augmentation. A compiler may do better in one piece, by fusion, or
worse, by layout; what the stages do not add up to is shown as a row of its own.
"""

import dataclasses
import statistics
import sys
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax import Array
from jax.typing import DTypeLike
from ml_collections import ConfigDict

from symskip_jax.bench.machine import Machine
from symskip_jax.bench.ours import Ours
from symskip_jax.bench.posing import pose
from symskip_jax.bench.setting import (
    configured_command,
    describe_setting,
    make_room,
    write_results,
)
from symskip_jax.bench.tables import stage_lines
from symskip_jax.experiments import setup
from symskip_jax.models import Spec
from symskip_jax.models.layers import batch_norm, strided_convolution, transposed_convolution
from symskip_jax.training.compilation import compiler_options

# Passes over a layer's activations that cannot be spared where convolutions are calls of their own:
# written by the convolution, read for the statistics, read and written by BatchNorm with ReLU, read
# by the next convolution; the gradient written, read with the activations for two sums, read with
# them and written by BatchNorm, read by the two gradients of the convolution, one with its input.
ACTIVATION_PASSES = 14
# Read by two products, the gradient written by a third; Adam reads four arrays and writes three.
PARAMETER_PASSES = 10


class Convolution(NamedTuple):
    """A convolution of a network, or the mirror of one, as a row of the table."""

    transposed: bool
    kernel: int
    stride: int
    in_size: tuple[int, int]
    out_size: tuple[int, int]
    in_width: int
    out_width: int

    def flops(self, batch_size: int) -> int:
        """Operations of the output, or of either gradient."""
        height, width = self.in_size if self.transposed else self.out_size
        taps = self.kernel**2 * self.in_width * self.out_width
        return 2 * batch_size * height * width * taps

    def __str__(self) -> str:
        name = "deconvolution" if self.transposed else "convolution"
        stride = f" stride {self.stride}" if self.stride > 1 else ""
        height, width = self.in_size
        kernel = f"{self.kernel}x{self.kernel}, {self.in_width} to {self.out_width}"
        return f"{name} {kernel} at {height}x{width}{stride}"


@dataclasses.dataclass
class Stage:
    """What is timed alone: `run` does it so many times and waits for the end."""

    name: str
    part: str
    count: int  # in a step
    run: Callable[[int], None]
    flops: int = 0
    seconds: list[float] = dataclasses.field(default_factory=list)


def bench_stages(config: ConfigDict, overrides: Sequence[str], arguments: Namespace) -> None:
    """Times, prints a table and writes the results.

    Args:
        config: whose `pretrain` step is taken apart.
        overrides: with which it was loaded, for the record.
        arguments: see `symskip_jax.bench.arguments`.

    Raises:
        UserError: something in the configuration is wrong.
    """
    make_room(arguments.out)
    problem = pose(config, arguments.image_size)
    spec, channels = setup.make_spec(config), problem.images.shape[-1]
    dtype = jnp.dtype(config.model.dtype)
    ours, machine = Ours(problem), Machine(problem)
    # As many as a dispatch takes, so that waiting for an accelerator is no part of what is timed.
    times = int(ours.facts()["steps_per_dispatch"])
    layers = convolutions(spec, channels, problem.crop)
    stages = [
        *_convolution_stages(layers, problem.batch_size, dtype),
        *_norm_stages(layers, problem.batch_size, dtype),
        _adam_stage(problem.params),
        Stage(
            "corruption and augmentation",
            "corruption and augmentation",
            1,
            ours.run_transform,
        ),
        Stage("step", "step", 1, ours.run),
    ]
    matrix, moves = [], []
    for number in range(arguments.rounds + 1):
        for stage in stages:
            began = time.perf_counter()
            stage.run(times)
            took = (time.perf_counter() - began) / times
            if number:  # the first round compiles
                stage.seconds.append(took)
        began = time.perf_counter()
        operations = machine.multiply(times)
        between = time.perf_counter()
        moved = machine.move(times)
        if number:
            matrix.append(operations / (between - began))
            moves.append(moved / (time.perf_counter() - between))
        print(f"round {number} of {arguments.rounds}", file=sys.stderr)
    command = configured_command(
        "stages",
        arguments.config,
        overrides,
        {"rounds": arguments.rounds, "image_size": arguments.image_size},
    )
    results = {
        "setting": describe_setting(command),
        "device": {"ours": ours.facts(), "machine": machine.facts()},
        "problem": {
            "network": setup.spec_facts(spec),
            "dtype": config.model.dtype,
            "batch_size": problem.batch_size,
            "crop": list(problem.crop),
        },
        "limits": {
            "matrix_flop_per_s": statistics.median(matrix),
            "moved_bytes_per_s": statistics.median(moves),
            "flops": sum(stage.flops * stage.count for stage in stages),
            "bytes": least_bytes(layers, problem.batch_size, dtype),
        },
        "stages": [
            {
                "name": stage.name,
                "part": stage.part,
                "count": stage.count,
                "flops": stage.flops,
                "seconds": statistics.median(stage.seconds),
            }
            for stage in stages
        ],
    }
    write_results(results, arguments.out)
    print("\n".join(stage_lines(results)))


def convolutions(spec: Spec, channels: int, image_size: tuple[int, int]) -> list[Convolution]:
    """Returns the convolutions of an auto-encoder, from the image to the image."""
    sizes = spec.sizes(*image_size)
    widths = [channels, *(layer.width for layer in spec.layers)]
    down = [
        Convolution(
            False, layer.kernel, layer.stride, sizes[i], sizes[i + 1], widths[i], widths[i + 1]
        )
        for i, layer in enumerate(spec.layers)
    ]
    up = [
        Convolution(True, it.kernel, it.stride, it.out_size, it.in_size, it.out_width, it.in_width)
        for it in reversed(down)
    ]
    return down + up


def least_bytes(layers: Sequence[Convolution], batch_size: int, dtype: DTypeLike) -> int:
    """Returns the bytes that a step must move while its arrays are larger than the caches.

    Args:
        layers: all convolutions of the network.
        batch_size: images a step.
        dtype: of the activations; parameters and moments are float32.
    """
    activations = sum(batch_size * it.out_size[0] * it.out_size[1] * it.out_width for it in layers)
    parameters = sum(it.kernel**2 * it.in_width * it.out_width for it in layers)
    return (
        ACTIVATION_PASSES * activations * jnp.dtype(dtype).itemsize
        + PARAMETER_PASSES * parameters * 4
    )


def _convolution_stages(
    layers: Sequence[Convolution], batch_size: int, dtype: DTypeLike
) -> Iterator[Stage]:
    for layer, count in Counter(layers).items():

        def convolve(x: Array, kernel: Array, layer: Convolution = layer) -> Array:
            if layer.transposed:
                return transposed_convolution(x, kernel, layer.stride, layer.out_size)
            return strided_convolution(x, kernel, layer.stride)

        def input_gradient(
            x: Array, kernel: Array, dy: Array, convolve: Callable[..., Array] = convolve
        ) -> Array:
            return jax.vjp(lambda x: convolve(x, kernel), x)[1](dy)[0]

        def kernel_gradient(
            x: Array, kernel: Array, dy: Array, convolve: Callable[..., Array] = convolve
        ) -> Array:
            return jax.vjp(lambda kernel: convolve(x, kernel), kernel)[1](dy)[0]

        x = _random(0, (batch_size, *layer.in_size, layer.in_width), dtype)
        kernel = _random(1, (layer.kernel, layer.kernel, layer.in_width, layer.out_width), dtype)
        dy = _random(2, (batch_size, *layer.out_size, layer.out_width), dtype)
        flops = layer.flops(batch_size)
        yield Stage(str(layer), "output", count, _timed(convolve, x, kernel), flops)
        # The image needs no gradient.
        inner = count - (layer == layers[0])
        if inner:
            yield Stage(
                str(layer), "input gradient", inner, _timed(input_gradient, x, kernel, dy), flops
            )
        yield Stage(
            str(layer), "kernel gradient", count, _timed(kernel_gradient, x, kernel, dy), flops
        )


def _norm_stages(
    layers: Sequence[Convolution], batch_size: int, dtype: DTypeLike
) -> Iterator[Stage]:
    # The last deconvolution makes the image, without either.
    shapes = Counter((batch_size, *it.out_size, it.out_width) for it in layers[:-1])
    norm = batch_norm(dtype, None)
    for shape, count in shapes.items():
        x, dy = _random(0, shape, dtype), _random(1, shape, dtype)
        variables: Any = norm.init(jax.random.key(0), x, use_running_average=False)

        def forward(x: Array, variables: Any) -> tuple[Array, Any]:
            y, updated = norm.apply(
                variables, x, use_running_average=False, mutable=["batch_stats"]
            )
            return nn.relu(y), updated

        def both(x: Array, variables: Any, dy: Array) -> Any:
            _, pull, updated = jax.vjp(
                lambda x, params: forward(x, {**variables, "params": params}),
                x,
                variables["params"],
                has_aux=True,
            )
            return pull(dy), updated

        size = f"{shape[-1]} at {shape[1]}x{shape[2]}"
        yield Stage(
            f"BatchNorm and ReLU, {size}", "both ways", count, _timed(both, x, variables, dy)
        )


def _adam_stage(params: Any) -> Stage:
    """Adam on parameters of its own, its state donated as in a step."""
    optimizer = optax.adam(1e-4)
    params = jax.tree.map(jnp.array, params)
    gradients = jax.tree.map(jnp.ones_like, params)

    def update(carry: tuple[Any, Any], gradients: Any) -> tuple[Any, Any]:
        params, state = carry
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    compiled = jax.jit(update, donate_argnums=0, compiler_options=compiler_options())
    box = [(params, optimizer.init(params))]

    def run(times: int) -> None:
        for _ in range(times):
            box[0] = compiled(box[0], gradients)
        jax.block_until_ready(box[0])

    return Stage("Adam", "Adam", 1, run)


def _timed(function: Callable[..., Any], *arrays: Any) -> Callable[[int], None]:
    compiled = jax.jit(function, compiler_options=compiler_options())

    def run(times: int) -> None:
        last = None
        for _ in range(times):
            last = compiled(*arrays)
        jax.block_until_ready(last)

    return run


def _random(seed: int, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    return jax.random.normal(jax.random.key(seed), shape).astype(dtype)
