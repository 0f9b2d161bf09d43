"""Settings that every test shares."""

import os
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent

# A program is compiled once, not in every worker, process that a test starts, and run.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

# The workers share the cores already; torch and BLAS need no threads of their own.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import jax  # noqa: E402  (reads the environment when it is imported)

# Eight simulated devices, so that sharding can be tested on any machine. Processes that tests start
# do not inherit this and see one device, as on a laptop.
jax.config.update("jax_num_cpu_devices", 8)

# No deadline, as the first example of a test compiles; the same examples in every run.
hypothesis.settings.register_profile("suite", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("suite")


@pytest.fixture
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of this test alone for what the package keeps between its starts."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real images that some tests read; skips where there is none."""
    path = Path(os.environ.get("SYMSKIP_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no real images at {path}: set SYMSKIP_TEST_DATA to their folder")
    return path


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out the pictures of `symskip reproduce`, which take most of its own time."""
    monkeypatch.setattr("symskip_jax.reproduction.command.draw", lambda *_: None)


@pytest.fixture
def symskip(capfd):
    """Runs the command in this process: what it printed, or its one line where it refuses."""
    from symskip_jax import cli

    def call(*arguments: object) -> str:
        capfd.readouterr()
        status = cli.main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        assert status == 0 or (status, out, err.count("\n")) == (cli.EXIT_WRONG_INPUT, "", 1), err
        return out if status == 0 else err

    return call
