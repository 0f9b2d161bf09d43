#!/usr/bin/env python3
"""Builds the tables on scaling in the docs from the JSON in results/scaling.

    python results/scaling_tables.py            writes them
    python results/scaling_tables.py --check    fails if the document says anything else

`symskip_jax.bench.scaling` wrote the JSON; each file holds its command.
"""

import json
import sys
from collections.abc import Iterable
from typing import Any

from summarize import RESULTS, with_table

from symskip_jax.bench.expectation import Expected, Hardware, at_batch, expected_step, h100, tpu_v4

DOCUMENT = RESULTS.parent / "docs" / "performance.md"
NAMES = {"cifar10": "Network-1, n=128, 29x29", "imagenet": "Network-3, 225x225"}
PURPOSES = ("forward statistics", "backward statistics", "gradients")
LOW, MIDDLE, HIGH = 0.3, 0.45, 0.6  # of the peak, in matrix products: assumed
MACHINES = (tpu_v4(64), h100(8), h100(64))
BATCHES = {"cifar10": (32, 128), "imagenet": (16, 64)}
GLOBAL_BATCH = 2048


def records(name: str) -> list[dict[str, Any]]:
    """Returns the records of a file."""
    return json.loads((RESULTS / "scaling" / f"{name}.json").read_text())["records"]


def accelerated(name: str) -> dict[str, Any]:
    """Returns what an accelerator is expected to run in bfloat16.

    Of Network-1 that is what the compiler for TPUs made. It was not run for Network-3: bytes of
    memory are those of the CPU's program by the ratio of the two for Network-1, and the gradients
    of kernels take half the bytes of float32, as they do there.
    """
    tpu = records("cifar10_tpu_v4")[0]
    if name == "cifar10":
        return tpu
    cpu = records(name)[-1]
    ratio = tpu["bytes_accessed"] / records("cifar10")[-1]["bytes_accessed"]
    halved = [
        {**it, "bytes": it["bytes"] / 2 if it["purpose"] == "gradients" else it["bytes"]}
        for it in cpu["collectives"]
    ]
    return {**cpu, "bytes_accessed": cpu["bytes_accessed"] * ratio, "collectives": halved}


def expect(name: str, per_device: int, hardware: Hardware, efficiency: float) -> Expected:
    """Returns the expected step of a network at so many images of a device."""
    record = accelerated(name)
    flops, memory = at_batch(record, per_device)
    return expected_step(flops, memory, record["collectives"], hardware, efficiency)


def collectives_table() -> str:
    """Returns the collectives of the compiled steps."""
    rows = []
    for name, file, where in (
        ("cifar10", "cifar10", "simulated, float32"),
        ("cifar10", "cifar10_tpu_v4", "TPU v4, bfloat16"),
        ("imagenet", "imagenet", "simulated, float32"),
    ):
        for it in records(file):
            found = it["collectives"]
            counts = [sum(c["count"] for c in found if c["purpose"] == p) for p in PURPOSES]
            sizes = [
                sum(c["count"] * c["bytes"] for c in found if c["purpose"] == p) for p in PURPOSES
            ]
            kinds = ", ".join(sorted({c["kind"] for c in found})) or "none"
            rows.append(
                [NAMES[name], where, it["devices"], kinds, *counts, sum(counts)]
                + [f"{sum(sizes[:2]) / 1e3:.0f}", f"{sizes[2] / 1e6:.2f}"]
            )
    head = "network|devices are|devices|kinds|forward|backward|with gradients|in all"
    return _table(f"{head}|kB of statistics|MB with gradients", rows)


def growth_table() -> str:
    """Returns how the cost of a step grows, on one device."""
    rows = []
    for it in records("growth"):
        images = it["per_device"]
        rows.append(
            [it["changed"], images, it["n"], it["image_side"], f"{it['parameters'] / 1e6:.1f}"]
            + [f"{it['flops'] / 1e9:.0f}", f"{it['flops'] / 1e9 / images:.2f}"]
            + [f"{it['bytes_accessed'] / 1e9:.2f}", f"{it['state_bytes'] / 1e6:.0f}"]
            + [f"{it['temp_bytes'] / 1e6:.0f}"]
        )
    head = "what grows|images|n|side|parameters, M|GFLOP a step|GFLOP an image"
    return _table(f"{head}|GB accessed|MB of state|MB of temporaries", rows)


def expected_table() -> str:
    """Returns the steps expected of the machines, between low and high efficiency."""
    rows = []
    for machine in MACHINES:
        for name, batches in BATCHES.items():
            for batch in batches:
                slow, fast = (expect(name, batch, machine, share) for share in (LOW, HIGH))
                images = machine.devices * batch
                rows.append(
                    [machine.name, NAMES[name], batch]
                    + [_range(1e3 * fast.compute_s, 1e3 * slow.compute_s)]
                    + [f"{1e3 * fast.memory_s:.2f}", f"{1e3 * fast.statistics_s:.2f}"]
                    + [f"{1e3 * fast.gradients_s:.2f}"]
                    + [_range(1e3 * fast.step_s, 1e3 * slow.step_s)]
                    + [_range(images / slow.step_s, images / fast.step_s)]
                    + [_range(*(100 * it.communication_share for it in (slow, fast))) + " %"]
                )
    head = "machine|network|images a device|matrix products, ms|memory, ms|statistics, ms"
    return _table(f"{head}|gradients, ms|step, ms|images/s|share in all-reduces", rows)


def devices_table() -> str:
    """Returns weak and strong scaling over H100s, at the middle efficiency."""
    rows = []
    for name, batches in BATCHES.items():
        alone = expect(name, batches[0], h100(1), MIDDLE)
        for devices in (1, 8, 64, 256):
            weak = expect(name, batches[0], h100(devices), MIDDLE)
            share = GLOBAL_BATCH // devices
            strong = expect(name, share, h100(devices), MIDDLE)
            rows.append(
                [NAMES[name], devices, batches[0], f"{1e3 * weak.step_s:.2f}"]
                + [f"{100 * alone.step_s / weak.step_s:.0f} %", share]
                + [f"{1e3 * strong.step_s:.2f}", f"{100 * strong.communication_share:.0f} %"]
            )
    head = "network|H100|images a device|step, ms|of one device's speed"
    return _table(f"{head}|images a device of {GLOBAL_BATCH}|step, ms|share in all-reduces", rows)


def _range(*ends: float) -> str:
    # A model deserves two digits.
    low, high = (f"{float(f'{end:.2g}'):,g}" for end in ends)
    return low if low == high else f"{low}–{high}"


def _table(head: str, rows: Iterable[Iterable[object]]) -> str:
    names = head.split("|")
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def main() -> int:
    """Writes or checks the tables and returns the exit status."""
    old = new = DOCUMENT.read_text()
    for name, table in (
        ("scaling_collectives", collectives_table()),
        ("scaling_growth", growth_table()),
        ("scaling_expected", expected_table()),
        ("scaling_devices", devices_table()),
    ):
        new = with_table(new, name, table)
    if "--check" in sys.argv[1:]:
        if new != old:
            print(f"{DOCUMENT.name} differs from results/scaling: run {sys.argv[0]}")
        return int(new != old)
    DOCUMENT.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
