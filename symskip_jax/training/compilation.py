"""What XLA is told beside the program."""

import functools

import jax

# What jaxlib 0.10 gives to YNNPACK by itself, but for convolutions, which XLA's own kernels run
# faster (docs/performance.md has the times).
_CPU_OPTIONS = {
    "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_DOT,LIBRARY_FUSION_TYPE_REDUCE"
}


def compiler_options(platform: str | None = None) -> dict[str, str]:
    """Returns the options of XLA with which convolutional networks run fastest.

    Args:
        platform: that the program is for: cpu, cuda, tpu and so on; default JAX's own.

    Returns:
        What `jax.jit` takes as `compiler_options`; empty where XLA's own choice is left.
    """
    return _known_cpu_options() if (platform or jax.default_backend()) == "cpu" else {}


def options_to_run_once(platform: str) -> dict[str, int]:
    """Returns the options of XLA for a program that runs once: compiled in little time.

    On a CPU a third of the time or less for drawing the parameters of a network, which come out the
    same bit for bit.

    Args:
        platform: that the program is for.
    """
    return {"xla_backend_optimization_level": 1} if platform == "cpu" else {}


@functools.cache
def _known_cpu_options() -> dict[str, str]:
    """Experimental options come and go; a compiler that lacks one would refuse the whole program.

    Those before 0.10 are left alone: nothing was measured on them.
    """
    if jax.__version_info__ < (0, 10):
        return {}
    try:
        jax.jit(lambda x: x, compiler_options=_CPU_OPTIONS).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return {}
    return _CPU_OPTIONS
