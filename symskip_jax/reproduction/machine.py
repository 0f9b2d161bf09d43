"""What the commands run on: `python -m symskip_jax.reproduction.machine` prints it as JSON."""

import json
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from symskip_jax.bench.setting import num_cores

# Of the rate of large matrix products, what the operations counted of whole runs came to, start-up
# and saves included. On CPU cores, which other work shared, the middle of the logs of table 2 at
# the scale small; half of them lie within a third of it. On a GPU, the one pre-training of table 2
# at the scale paper that there is, of the highest rate that runs beside it noted when they began,
# as all shared the GPU. Nothing was measured on a TPU.
STEP_SHARES = {"cpu": 0.25, "gpu": 0.13}
# That networks compute in.
_TYPES = ("float32", "bfloat16")
_SECONDS = 0.5


def describe_machine() -> dict[str, Any]:
    """Returns device, versions and `matrix_flops_per_second` of one device, by type; measured."""
    device = jax.devices()[0]
    return {
        "platform": device.platform,
        "device": device.device_kind if device.platform != "cpu" else _processor(),
        "devices": jax.device_count(),
        "cpu_cores": num_cores(),
        "jax": jax.__version__,
        "python": platform.python_version(),
        "matrix_flops_per_second": {it: _matrix_rate(device.platform, it) for it in _TYPES},
    }


def step_rate(machine: Mapping[str, Any], dtype: str) -> float:
    """Returns the operations a second that are expected of runs that compute in a type."""
    # The devices that a CPU is said to have share its cores.
    devices = 1 if machine["platform"] == "cpu" else machine["devices"]
    return step_share(machine) * machine["matrix_flops_per_second"][dtype] * devices


def step_share(machine: Mapping[str, Any]) -> float:
    """Returns the share of the rate of matrix products that whole runs are expected to reach."""
    return STEP_SHARES["cpu" if machine["platform"] == "cpu" else "gpu"]


def machine_text(machine: Mapping[str, Any]) -> str:
    """Returns the hardware in a few words."""
    if machine["platform"] == "cpu":
        return f"{machine['cpu_cores']} CPU core{'s' * (machine['cpu_cores'] > 1)}"
    return f"{machine['devices']} x {machine['device']}"


def _matrix_rate(kind: str, dtype: str) -> float:
    side = 1024 if kind == "cpu" else 8192
    x = jnp.ones((side, side), dtype)
    multiply = jax.jit(jnp.matmul)
    multiply(x, x).block_until_ready()
    times, began = 0, time.perf_counter()
    while (seconds := time.perf_counter() - began) < _SECONDS:
        multiply(x, x).block_until_ready()
        times += 1
    return times * 2.0 * side**3 / seconds


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    print(json.dumps(describe_machine()))
