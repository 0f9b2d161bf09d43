"""Expects the time of a train step on machines that are not at hand, from what was compiled.

A model, not a measurement: peaks from datasheets, an efficiency and latencies that are assumed.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

BYTES_OF_ADAM = 28  # a parameter: float32, read with two moments and a gradient, written with them


@dataclasses.dataclass(frozen=True)
class Level:
    """Devices joined by one kind of link.

    Attributes:
        devices: that are joined.
        bandwidth: bytes/s that each of them sends while it receives as much.
        hop_s: seconds from one device to the next, what it takes to start included.
    """

    devices: int
    bandwidth: float
    hop_s: float


@dataclasses.dataclass(frozen=True)
class Hardware:
    """Devices of one kind.

    Attributes:
        name: in tables.
        peak_flops: bfloat16 matrix products on one device, FLOP/s.
        memory_bandwidth: of one device, bytes/s.
        levels: links from the innermost outwards.
    """

    name: str
    peak_flops: float
    memory_bandwidth: float
    levels: tuple[Level, ...]

    @property
    def devices(self) -> int:
        """How many there are in all."""
        return math.prod(level.devices for level in self.levels)


def tpu_v4(chips: int) -> Hardware:
    """Returns a cube of TPU v4 chips (64, 128, ...), whose three axes are closed to rings.

    Peaks: cloud.google.com/tpu/docs/v4: 275 TFLOP/s, 1200 GB/s, and 1.1 PB/s of all-reduce in a pod
    of 4096 chips. Assumed: 1 us a hop.
    """
    links = Level(chips, 1.1e15 / 4096, 1e-6)
    return Hardware(f"TPU v4-{2 * chips}", 275e12, 1200e9, (links,))


def h100(gpus: int) -> Hardware:
    """Returns H100 SXM GPUs, eight a node.

    Peaks: NVIDIA's datasheets of H100 SXM (989 TFLOP/s dense, 3.35 TB/s, NVLink 900 GB/s in both
    directions together) and DGX H100 (a 400 Gb/s port of InfiniBand for each GPU). Assumed: 2.5 us
    a hop in the node (about 6 us were measured for two GPUs: NVIDIA/nccl#1259), 4 us between nodes.
    """
    node = Level(min(gpus, 8), 450e9, 2.5e-6)
    cluster = Level(max(gpus // 8, 1), 50e9, 4e-6)
    return Hardware(f"{gpus} H100", 989e12, 3.35e12, (node, cluster))


@dataclasses.dataclass(frozen=True)
class Expected:
    """Seconds of the parts of a step.

    Attributes:
        compute_s: matrix products at the assumed share of the peak.
        memory_s: what is read and written, at the peak.
        statistics_s: the all-reduces of BatchNorm's sums.
        gradients_s: those of the gradients.
    """

    compute_s: float
    memory_s: float
    statistics_s: float
    gradients_s: float

    @property
    def step_s(self) -> float:
        """The step: nothing is taken to run beside an all-reduce."""
        return max(self.compute_s, self.memory_s) + self.statistics_s + self.gradients_s

    @property
    def communication_share(self) -> float:
        """Share of the step in all-reduces."""
        return (self.statistics_s + self.gradients_s) / self.step_s


def expected_step(
    flops: float,
    bytes_accessed: float,
    collectives: Sequence[Mapping[str, Any]],
    hardware: Hardware,
    efficiency: float,
) -> Expected:
    """Returns the expected parts of a step.

    Args:
        flops: of one device.
        bytes_accessed: of the memory of one device.
        collectives: `kind`, `purpose`, `bytes` and `count` of each; neither depends on how many
            devices there are, so those of another number of them will do.
        hardware: what the step runs on.
        efficiency: share of the peak that matrix products reach, 0 to 1.

    Raises:
        ValueError: a collective is no all-reduce.
    """
    seconds = {"gradients": 0.0, "statistics": 0.0}
    for it in collectives:
        if it["kind"] != "all-reduce":
            raise ValueError(f"no cost is known for {it['kind']}")
        part = "gradients" if it["purpose"] == "gradients" else "statistics"
        seconds[part] += it["count"] * all_reduce_seconds(it["bytes"], hardware.levels)
    return Expected(
        flops / (efficiency * hardware.peak_flops),
        bytes_accessed / hardware.memory_bandwidth,
        seconds["statistics"],
        seconds["gradients"],
    )


def all_reduce_seconds(size: float, levels: Sequence[Level]) -> float:
    """Returns the seconds of an all-reduce of so many bytes on each device.

    At each level a reduce-scatter on the way out and an all-gather on the way back: a device sends
    (n - 1) / n of its bytes for each, in log2(n) hops, and is left with one n-th for the next.
    """
    total = 0.0
    for level in levels:
        n = level.devices
        total += 2 * ((n - 1) / n * size / level.bandwidth + math.ceil(math.log2(n)) * level.hop_s)
        size /= n
    return total


def at_batch(record: Mapping[str, Any], per_device: int) -> tuple[float, float]:
    """Returns (flops, bytes accessed) of a compiled step at another number of images of a device.

    All but Adam's reading and writing is in proportion to the batch.
    """
    ratio = per_device / record["per_device"]
    fixed = BYTES_OF_ADAM * record["parameters"]
    return record["flops"] * ratio, fixed + (record["bytes_accessed"] - fixed) * ratio
