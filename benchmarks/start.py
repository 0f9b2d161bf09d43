#!/usr/bin/env python3
"""Times `symskip pretrain` from its start to the end of its first step, cache empty and warm.

    python benchmarks/start.py --out results/speed/cpu_start.json

Network-1 at full width on a handful of random images, so that what is timed is the start: imports,
data, compilation or its cache, the state, one step. It also times `symskip --help`.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from symskip_jax.bench.setting import describe_setting

SYMSKIP = Path(sys.executable).with_name("symskip")
PATIENCE = 600  # seconds


def seconds_to_first_step(data: Path, workdir: Path, cache: Path, n: int, batch: int) -> float:
    """Starts a run of its own, and ends it when its first step is in the log."""
    shutil.rmtree(workdir, ignore_errors=True)
    command = [
        *(SYMSKIP, "pretrain", "--config", "cifar10", "--workdir", workdir),
        *(f"--config.data.name=npz:{data}", f"--config.model.n={n}"),
        *(f"--config.pretrain.batch_size={batch}", "--config.run.steps_per_dispatch=1"),
    ]
    began = time.perf_counter()
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(cache)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        log = workdir / "metrics.jsonl"
        while not (log.exists() and log.read_text().endswith("\n")):
            if process.poll() is not None or time.perf_counter() - began > PATIENCE:
                raise SystemExit("the run ended, or took too long, before its first step")
            time.sleep(0.01)
        return time.perf_counter() - began
    finally:
        process.kill()
        process.wait()


def help_seconds() -> float:
    """Runs `symskip --help`."""
    began = time.perf_counter()
    subprocess.run([SYMSKIP, "--help"], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def main() -> None:
    """Times each, prints and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3, help="of warm starts")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "images.npz"
        count = 4 * arguments.batch
        images = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), np.uint8)
        labels = np.arange(count) % 10
        np.savez(
            data, train_images=images, train_labels=labels, test_images=images, test_labels=labels
        )
        size = arguments.n, arguments.batch
        cold, *warm = [
            seconds_to_first_step(data, Path(folder) / "run", Path(folder) / "cache", *size)
            for _ in range(arguments.rounds + 1)
        ]
    results = {
        "setting": describe_setting(
            f"python benchmarks/start.py --n {arguments.n} --batch {arguments.batch}"
        ),
        "cold_s": cold,
        "warm_s": warm,
        "help_s": [help_seconds() for _ in range(arguments.rounds)],
    }
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(results, indent=1) + "\n")
    print(f"first step after {cold:.1f} s, cache empty")
    print(f"first step after {statistics.median(warm):.1f} s, cache warm")
    print(f"symskip --help in {statistics.median(results['help_s']):.2f} s")


if __name__ == "__main__":
    main()
