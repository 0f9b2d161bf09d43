"""What the contenders written in JAX share."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from symskip_jax.bench.contender import peak_resident_bytes


def device_facts() -> dict[str, Any]:
    """Returns which device JAX computes on."""
    device = jax.devices()[0]
    return {"platform": device.platform, "device": device.device_kind}


def device_peak_bytes() -> int:
    """Returns the most memory used of that device, of a CPU by the process; -1 if it keeps none."""
    device = jax.devices()[0]
    if device.platform == "cpu":
        return peak_resident_bytes()
    return (device.memory_stats() or {}).get("peak_bytes_in_use", -1)


def recording_norm(optimizer: Any) -> optax.GradientTransformationExtraArgs:
    """Returns an optimiser that keeps the norm of the latest gradient; see `norm_of`."""

    def init(params: Any) -> Array:
        return jnp.zeros(())

    def update(updates: Any, state: Array, params: Any = None) -> tuple[Any, Array]:
        return updates, optax.tree.norm(updates)

    recorder = optax.GradientTransformation(init, update)
    return optax.with_extra_args_support(optax.chain(recorder, optimizer))


def norm_of(opt_state: Any) -> float:
    """Returns the norm that the state of a `recording_norm` optimiser holds."""
    return float(opt_state[0])
