#!/usr/bin/env python3
"""Times the convolutions of Network-1 on a CPU, beside other ways to the same result.

    python benchmarks/convolutions.py --out results/speed/cpu_convolutions.json

Outputs as one product of patches with the kernel, kernel gradients as nine products of shifted
images, and as one of patches. All are checked against XLA's own before they are timed, in turns.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from symskip_jax.bench.setting import describe_setting
from symskip_jax.memory import keep_freed_memory
from symskip_jax.models.layers import strided_convolution
from symskip_jax.training.compilation import compiler_options

# batch, side, channels in, channels out: n=32 with batch 32, then n=128 with batch 16.
SHAPES = (
    *((32, 29, 32, 32), (32, 15, 64, 64), (32, 8, 128, 128), (32, 29, 3, 32), (32, 29, 32, 3)),
    *((16, 29, 128, 128), (16, 15, 256, 256), (16, 8, 512, 512), (16, 29, 3, 128)),
    (16, 29, 128, 3),
)


def shifted(x: Array) -> list[Array]:
    """Returns the nine shifts of [B, H, W, C] that a 3x3 kernel sees."""
    _, height, width, _ = x.shape
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]


def output(x: Array, kernel: Array, dy: Array) -> Array:
    """XLA's own."""
    return strided_convolution(x, kernel, 1)


def output_of_patches(x: Array, kernel: Array, dy: Array) -> Array:
    """One product."""
    patches = jnp.concatenate(shifted(x), -1)
    return patches @ kernel.reshape(-1, kernel.shape[-1])


def gradient(x: Array, kernel: Array, dy: Array) -> Array:
    """XLA's own."""
    return jax.vjp(lambda kernel: strided_convolution(x, kernel, 1), kernel)[1](dy)[0]


def gradient_of_shifts(x: Array, kernel: Array, dy: Array) -> Array:
    """Nine products."""
    rows = dy.reshape(-1, dy.shape[-1])
    products = [it.reshape(-1, x.shape[-1]).T @ rows for it in shifted(x)]
    return jnp.stack(products).reshape(kernel.shape)


def gradient_of_patches(x: Array, kernel: Array, dy: Array) -> Array:
    """One product."""
    patches = jnp.concatenate(shifted(x), -1).reshape(-1, 9 * x.shape[-1])
    return (patches.T @ dy.reshape(-1, dy.shape[-1])).reshape(kernel.shape)


WAYS: dict[str, tuple[Callable[..., Array], Callable[..., Array]]] = {
    "output": (output, output),
    "output, patches": (output_of_patches, output),
    "kernel gradient": (gradient, gradient),
    "kernel gradient, shifts": (gradient_of_shifts, gradient),
    "kernel gradient, patches": (gradient_of_patches, gradient),
}


def measure(shape: tuple[int, int, int, int], rounds: int) -> dict[str, float]:
    """Returns milliseconds by way, medians."""
    batch, side, fan_in, fan_out = shape
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (batch, side, side, fan_in))
    kernel = jax.random.normal(keys[1], (3, 3, fan_in, fan_out))
    dy = jax.random.normal(keys[2], (batch, side, side, fan_out))
    compiled = {
        way: jax.jit(function, compiler_options=compiler_options())
        for way, (function, _) in WAYS.items()
    }
    for way, (_, oracle) in WAYS.items():
        expected = oracle(x, kernel, dy)
        error = jnp.abs(compiled[way](x, kernel, dy) - expected).max() / jnp.abs(expected).max()
        assert float(error) < 1e-4, (way, shape, float(error))
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, function in compiled.items():
            began = time.perf_counter()
            jax.block_until_ready(function(x, kernel, dy))
            times[way].append(1000 * (time.perf_counter() - began))
    return {way: statistics.median(it) for way, it in times.items()}


def main() -> None:
    """Times all shapes, prints a table and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    keep_freed_memory()
    records: list[dict[str, Any]] = []
    for shape in SHAPES:
        records.append({"shape": shape, "ms": measure(shape, arguments.rounds)})
        print(shape, {way: round(ms, 1) for way, ms in records[-1]["ms"].items()})
    setting = describe_setting(f"python benchmarks/convolutions.py --rounds {arguments.rounds}")
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(
            json.dumps({"setting": setting, "records": records}, indent=1) + "\n"
        )


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    main()
