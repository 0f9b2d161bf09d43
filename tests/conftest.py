"""Settings every test shares. They must be in place before anything imports JAX."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Eight simulated devices, so that sharding can be tested on any machine; what does not ask for a
# mesh runs on the first of them as usual.
_flags = os.environ.get("XLA_FLAGS", "")
if "xla_force_host_platform_device_count" not in _flags:
    os.environ["XLA_FLAGS"] = f"{_flags} --xla_force_host_platform_device_count=8".strip()

# Compiled programs are kept between runs and shared by the workers and by child processes.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real images that some tests read; skips where there is none."""
    path = Path(os.environ.get("SYMSKIP_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no real images at {path}: set SYMSKIP_TEST_DATA to their folder")
    return path
