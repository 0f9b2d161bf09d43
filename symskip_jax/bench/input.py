"""`symskip bench input`: this package's stream beside tf.data, and CIFAR-10 held on the device.

Both stream 225x225 windows, in batches of 64, out of the same 500x375 JPEGs: this package from
ArrayRecord, tf.data from TFRecord with `decode_and_crop_jpeg`. Every timing is a process of its
own, in turns, all files in the page cache; the ratios are those of neighbours. It needs Linux, and
TensorFlow (extra `prepare`) for tf.data's half.
"""

import importlib.util
import json
import os
import shlex
import statistics
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from symskip_jax.bench.input_dataset import NAME, find_photographs, write_datasets
from symskip_jax.bench.setting import describe_setting, make_room, write_results
from symskip_jax.data.paths import cache_folder
from symskip_jax.errors import UserError
from symskip_jax.extras import how_to_install

PACKAGES = ("array-record", "grain", "jax", "numpy", "opencv-python-headless", "tensorflow")
FIGURES = ("images_per_s", "cpu_ms_per_image", "first_batch_s", "peak_mib")
# Sixteen batches, as Flax's example for ImageNet shuffles; none is the least that tf.data can do.
TF_DATA = {"tf.data": 1024, "tf.data, no shuffle buffer": 0}
OURS = "ours"

Round = dict[str, dict[str, float]]


def bench_input(arguments: Namespace) -> None:
    """Times, prints tables and writes the results.

    Raises:
        UserError: there is nothing to read, or a reader failed.
    """
    if not (arguments.images or arguments.cifar10):
        raise UserError(
            "nothing to read: name a folder of images, --images, or of datasets, --cifar10, or both"
        )
    make_room(arguments.out)
    results = _measure(arguments)
    write_results(results, arguments.out)
    print("\n".join(lines(results)))


def _measure(arguments: Namespace) -> dict[str, Any]:
    results: dict[str, Any] = {"setting": describe_setting(_command(arguments), PACKAGES)}
    if arguments.images:
        has_tensorflow = importlib.util.find_spec("tensorflow") is not None
        if not has_tensorflow:
            print(f"tf.data is left out: {how_to_install('prepare')}", file=sys.stderr)
        photographs = find_photographs(arguments.images)
        formats = ["array_record", "tfrecord"] if has_tensorflow else ["array_record"]
        cache = arguments.cache or cache_folder() / "input_benchmark"
        data = write_datasets(photographs, arguments.records, cache, formats)
        for file in data.rglob(f"{NAME}-*"):  # into the page cache
            file.read_bytes()
        results["setting"]["different_photographs"] = len(photographs)
        if has_tensorflow:
            results["same_windows"] = _read("compare", data)
        results["streaming"] = {
            kind: _rounds(kind, data, has_tensorflow, arguments) for kind in arguments.kinds
        }
    if arguments.cifar10:
        results["cifar10"] = [
            _read("resident", arguments.cifar10.expanduser()) for _ in range(arguments.rounds)
        ]
    return results


def lines(results: dict[str, Any]) -> list[str]:
    """Put the results into tables of Markdown."""
    out = []
    for kind, rounds in results.get("streaming", {}).items():
        out += [
            f"{kind}: medians of {len(rounds)} rounds",
            "",
            "| reader | images/s | CPU ms per image | s to first batch | peak MiB |",
            "| --- | --- | --- | --- | --- |",
        ]
        for reader in rounds[0]:
            medians = [statistics.median(it[reader][figure] for it in rounds) for figure in FIGURES]
            speed, cpu, first, peak = medians
            out.append(f"| {reader} | {speed:.0f} | {cpu:.2f} | {first:.1f} | {peak:.0f} |")
        out.append("")
        for reader in [it for it in rounds[0] if it != OURS]:
            cells = [f"{figure} {_ratio(rounds, reader, figure)}" for figure in FIGURES]
            out.append(f"ours / {reader}: {', '.join(cells)}")
        out.append("")
    if compared := results.get("same_windows"):
        out.append(
            f"The same windows of {compared['images']} images differ by "
            f"{compared['mean_difference']:.2f} of 255 on average"
        )
    if cifar10 := results.get("cifar10"):
        load_s = statistics.median(it["load_s"] for it in cifar10)
        last = cifar10[-1]
        out.append(
            f"CIFAR-10: {last['images']} images loaded in {load_s:.2f} s; "
            f"{last['bytes_sent_in_these_steps']} bytes sent to the device in {last['steps']} "
            f"steps, {last['largest_thing_sent_bytes']} at once at most"
        )
    return out


def _rounds(kind: str, data: Path, has_tensorflow: bool, arguments: Namespace) -> list[Round]:
    options = [f"--kind={kind}", f"--warm-up={arguments.warmup}", f"--seconds={arguments.seconds}"]
    parallel = [f"--threads={arguments.threads}", f"--workers={arguments.workers}"]
    rounds: list[Round] = []
    for number in range(arguments.rounds):
        measured: Round = {OURS: _read("ours", data, *options, *parallel)}
        for reader, shuffle in TF_DATA.items() if has_tensorflow else ():
            measured[reader] = _read("tf_data", data, *options, f"--shuffle-buffer={shuffle}")
        rounds.append(measured)
        speeds = ", ".join(f"{it} {of['images_per_s']:.0f}" for it, of in measured.items())
        print(f"{kind}, round {number + 1}: images/s of {speeds}", file=sys.stderr)
    return rounds


def _ratio(rounds: Sequence[Round], reader: str, figure: str) -> str:
    ratios = [it[OURS][figure] / it[reader][figure] for it in rounds]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def _read(reader: str, data: Path, *options: str) -> dict[str, float]:
    module = "symskip_jax.bench.input_readers"
    command = [sys.executable, "-m", module, reader, f"--data={data}", *options]
    started = f"--started={time.time()!r}"
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([*command, started], capture_output=True, text=True, env=quiet)
    if done.returncode:
        last = (done.stderr.strip() or "nothing was said").splitlines()[-1]
        raise UserError(f"{reader} failed with status {done.returncode}: {last}")
    return json.loads(done.stdout.splitlines()[-1])


def _command(arguments: Namespace) -> str:
    # Which folders is this machine's business.
    given = [f"--{name} FOLDER" for name in ("images", "cifar10") if getattr(arguments, name)]
    words = ["--kinds", *arguments.kinds]
    for name in ("records", "rounds", "warmup", "seconds", "threads", "workers"):
        words += [f"--{name}", str(getattr(arguments, name))]
    return " ".join(["symskip bench input", *given, shlex.join(words)])
