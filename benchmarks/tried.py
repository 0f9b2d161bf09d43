#!/usr/bin/env python3
"""Times the step on a CPU with one thing done otherwise at a time: what each trick earns.

    python benchmarks/tried.py --config.model.n=32 --config.pretrain.batch_size=32 --out FILE.json

Every variant is a process of its own and has its turn in every round, as in `symskip bench step`.
The losses of the first steps are written beside the times: all compute the same to rounding.
"""

import argparse
import contextlib
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from symskip_jax.bench import ours
from symskip_jax.bench.posing import pose
from symskip_jax.bench.setting import describe_setting
from symskip_jax.config import load_config
from symskip_jax.memory import keep_freed_memory
from symskip_jax.models import layers
from symskip_jax.training import compilation, dispatch, mesh

KEPT = "as it is"
VARIANTS = {
    KEPT: "",
    "XLA's own choice of YNNPACK": "jaxlib 0.10 gives it products, reductions and convolutions",
    "nothing to YNNPACK": "neither products nor reductions",
    "memory given back": "glibc's defaults",
    "deconvolution by input dilation": "one convolution for all phases of the output",
    "Winograd F(4x4, 3x3)": "for 3x3 convolutions of stride 1, but those from or to the image",
}
NHWC = ("NHWC", "HWIO", "NHWC")


def dilated(x: Array, kernel: Array, stride: int, out_size: tuple[int, int]) -> Array:
    """Transposed convolution as one convolution of an input spread out with zeros."""
    size = kernel.shape[0]
    low = size - 1 - size // 2
    pads = [
        (low, after - stride * (before - 1) - 1 + size - 1 - low)
        for before, after in zip(x.shape[1:3], out_size, strict=True)
    ]
    flipped = kernel[::-1, ::-1]
    return lax.conv_general_dilated(x, flipped, (1, 1), pads, (stride, stride), None, NHWC)


# Lavin and Gray, 2016: interpolation at 0, 1, -1, 2, -2 and infinity.
INPUT = [
    [4, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
]
KERNEL = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
    np.float32,
)
OUTPUT = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]


def winograd(x_bhwc: Array, kernel_hwio: Array) -> Array:
    """3x3 convolution of stride 1 in tiles of 4x4: 36 products where 144 are usual."""
    batch, height, width, channels = x_bhwc.shape
    rows, columns = -(-height // 4), -(-width // 4)
    pads = ((0, 0), (1, 4 * rows + 1 - height), (1, 4 * columns + 1 - width), (0, 0))
    padded = jnp.pad(x_bhwc, pads)
    tall = [padded[:, i : i + 4 * rows - 3 : 4] for i in range(6)]
    tall = lax.optimization_barrier(jnp.stack(_combine(INPUT, tall)))
    wide = [tall[:, :, :, i : i + 4 * columns - 3 : 4] for i in range(6)]
    tiles = jnp.stack(_combine(INPUT, wide), 1).reshape(36, batch * rows * columns, channels)
    kernels = jnp.einsum("pi,qj,ijco->pqco", KERNEL, KERNEL, kernel_hwio)
    products = jnp.matmul(
        lax.optimization_barrier(tiles), kernels.reshape(36, *kernel_hwio.shape[2:])
    )
    products = lax.optimization_barrier(products).reshape(6, 6, batch, rows, columns, -1)
    tall = lax.optimization_barrier(jnp.stack(_combine(OUTPUT, list(products))))
    y = jnp.stack(_combine(OUTPUT, [tall[:, i] for i in range(6)]), 4)
    y = y.transpose(1, 2, 0, 3, 4, 5).reshape(batch, 4 * rows, 4 * columns, -1)
    return y[:, :height, :width]


def _combine(matrix: list[list[int]], arrays: list[Array]) -> list[Array]:
    return [sum(w * x for w, x in zip(row, arrays, strict=True) if w) for row in matrix]  # type: ignore[misc]


def apply(variant: str) -> None:
    """Does one thing otherwise, in this process."""
    if variant != "memory given back":
        keep_freed_memory()
    if variant == "XLA's own choice of YNNPACK":
        dispatch.compiler_options = mesh.compiler_options = lambda platform=None: {}
    elif variant == "nothing to YNNPACK":
        nothing = dict.fromkeys(compilation._CPU_OPTIONS, "")
        dispatch.compiler_options = mesh.compiler_options = lambda platform=None: nothing
    elif variant == "deconvolution by input dilation":
        layers.transposed_convolution = dilated
    elif variant.startswith("Winograd"):
        usual, mirrored = layers.strided_convolution, layers.transposed_convolution

        def fits(kernel: Array, stride: int) -> bool:
            return kernel.shape[:2] == (3, 3) and stride == 1 and min(kernel.shape[2:]) > 3

        layers.strided_convolution = lambda x, kernel, stride: (
            winograd(x, kernel) if fits(kernel, stride) else usual(x, kernel, stride)
        )
        layers.transposed_convolution = lambda x, kernel, stride, out_size: (
            winograd(x, kernel[::-1, ::-1])
            if fits(kernel, stride)
            else mirrored(x, kernel, stride, out_size)
        )


def serve(variant: str, overrides: list[str]) -> None:
    """Takes as many steps as each line of standard input says, and answers with the seconds."""
    apply(variant)
    contender = ours.Ours(pose(load_config("cifar10", overrides)))
    contender.run(1)
    print(json.dumps(contender.check()["loss_after"]), flush=True)
    for line in sys.stdin:
        before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        contender.run(int(line))
        seconds = time.perf_counter() - began
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before.ru_minflt
        print(json.dumps([seconds / int(line), faults / int(line)]), flush=True)


@contextlib.contextmanager
def server(variant: str, overrides: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Starts a variant, and ends it."""
    command = [sys.executable, __file__, "--variant", variant, *overrides]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def main() -> None:
    """Times all variants in turns, prints a table and writes the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--out", type=Path)
    arguments, overrides = parser.parse_known_args()
    if arguments.variant is not None:
        return serve(arguments.variant, overrides)
    losses, rounds = {}, []
    with contextlib.ExitStack() as stack:
        servers = {it: stack.enter_context(server(it, overrides)) for it in VARIANTS}
        for name, process in servers.items():
            losses[name] = _answer(process)
        for number in range(arguments.rounds + 1):
            times = {}
            for name, process in servers.items():
                print(arguments.steps, file=process.stdin, flush=True)
                times[name] = _answer(process)
            if number:  # the first warms up
                rounds.append(times)
            print(f"round {number} of {arguments.rounds}", file=sys.stderr)
    words = ["python", "benchmarks/tried.py", "--rounds", arguments.rounds, *overrides]
    variants = {
        name: {
            "what": what,
            "loss_after_a_step": losses[name],
            "step_s": statistics.median(it[name][0] for it in rounds),
            "page_faults": statistics.median(it[name][1] for it in rounds),
            "times_the_kept_step": statistics.median(it[name][0] / it[KEPT][0] for it in rounds),
        }
        for name, what in VARIANTS.items()
    }
    setting = describe_setting(" ".join(map(str, words)))
    results = {"setting": setting, "variants": variants, "rounds": rounds}
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(results, indent=1) + "\n")
    for name, it in variants.items():
        print(f"{name:35} {1000 * it['step_s']:7.0f} ms, {it['times_the_kept_step']:.2f} times")


def _answer(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    main()
