"""How the libraries behave in a process of the command."""

import os

from symskip_jax.data.paths import cache_folder
from symskip_jax.memory import keep_freed_memory


def prepare_libraries() -> None:
    """Keeps compiled programs and freed memory, and the libraries' chatter off the terminal."""
    keep_freed_memory()
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache_folder()))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    import absl.logging

    absl.logging.set_verbosity(absl.logging.FATAL)  # its errors are raised too
