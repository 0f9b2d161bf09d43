"""How fast this machine multiplies matrices and moves memory: the two limits of a step."""

from typing import Any

import jax
import jax.numpy as jnp

from symskip_jax.bench.jax_tools import device_facts
from symskip_jax.bench.problem import Problem


class Machine:
    """Two arrays on the device, and what is timed on them.

    The product is of the problem's compute dtype; on a CPU, where bfloat16 is emulated, float32.
    """

    def __init__(self, problem: Problem) -> None:
        """Allocates, and compiles."""
        on_cpu = device_facts()["platform"] == "cpu"
        self._dtype = jnp.bfloat16 if problem.is_bfloat16 and not on_cpu else jnp.float32
        self._side = 2048 if on_cpu else 8192
        shape = (self._side, self._side)
        self._matrix = jax.random.normal(jax.random.key(0), shape).astype(self._dtype)
        length = 2**26 if on_cpu else 2**29
        self._long = jnp.ones((length,), jnp.float32)
        self._multiply = jax.jit(jnp.matmul)
        # In place, as fresh pages would be timed otherwise.
        self._add = jax.jit(lambda x: x + 1, donate_argnums=0)

    def facts(self) -> dict[str, Any]:
        """Returns what is multiplied and moved."""
        return {
            **device_facts(),
            "matrix": [self._side, self._side],
            "matrix_dtype": jnp.dtype(self._dtype).name,
            "moved_bytes": self._moved_bytes,
        }

    def multiply(self, times: int) -> float:
        """Multiplies so many times and returns how many operations that was."""
        product = self._matrix
        for _ in range(times):
            product = self._multiply(self._matrix, self._matrix)
        product.block_until_ready()
        return times * 2.0 * self._side**3

    def move(self, times: int) -> float:
        """Reads and writes an array so many times and returns the bytes read and written."""
        for _ in range(times):
            self._long = self._add(self._long)
        self._long.block_until_ready()
        return float(times * self._moved_bytes)

    @property
    def _moved_bytes(self) -> int:
        return 2 * self._long.nbytes
