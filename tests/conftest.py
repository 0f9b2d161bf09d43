"""Settings that every test shares."""

import os
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent

# These must be in the environment before anything imports JAX; processes that tests start
# inherit them.

# Eight simulated devices, so that sharding can be tested on any machine.
_FLAG = "--xla_force_host_platform_device_count"
if _FLAG not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_FLAG}=8".strip()

# A program is compiled once, not in every worker, child process and run.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

# The workers share the cores already; torch and BLAS need no threads of their own.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# No deadline, as the first example of a test compiles; the same examples in every run.
hypothesis.settings.register_profile("suite", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("suite")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real images that some tests read; skips where there is none."""
    path = Path(os.environ.get("SYMSKIP_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no real images at {path}: set SYMSKIP_TEST_DATA to their folder")
    return path
