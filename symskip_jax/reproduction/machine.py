"""What the commands run on: `python -m symskip_jax.reproduction.machine` prints it as JSON."""

import json
import platform
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from symskip_jax.bench.setting import num_cores

# Of the rate of large matrix products, what the steps of such networks reach: the middle of the
# shares in docs/performance.md. It is for a first guess of how long a run takes.
STEP_SHARE = 0.25
_SECONDS = 0.5


def describe_machine() -> dict[str, Any]:
    """Returns device, processor, versions and `matrix_flops_per_second`, measured in a second."""
    device = jax.devices()[0]
    return {
        "platform": device.platform,
        "device": device.device_kind if device.platform != "cpu" else _processor(),
        "devices": jax.device_count(),
        "cpu_cores": num_cores(),
        "jax": jax.__version__,
        "python": platform.python_version(),
        "matrix_flops_per_second": _matrix_rate(device.platform),
    }


def machine_text(machine: dict[str, Any]) -> str:
    """Returns the hardware in a few words."""
    if machine["platform"] == "cpu":
        return f"{machine['cpu_cores']} CPU core{'s' * (machine['cpu_cores'] > 1)}"
    return f"{machine['devices']} x {machine['device']}"


def _matrix_rate(kind: str) -> float:
    side = 1024 if kind == "cpu" else 8192
    x = jnp.ones((side, side), jnp.float32 if kind == "cpu" else jnp.bfloat16)
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
