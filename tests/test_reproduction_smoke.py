"""Every experiment at the scale of smoke: the real commands, on data made for them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from command import single_device

from symskip_jax.reproduction.definitions import DEFINITIONS, define
from symskip_jax.reproduction.summary import measure

WORKER = Path(__file__).with_name("reproduce_smoke.py")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    # One for all, as experiments share runs.
    return tmp_path_factory.mktemp("reproduction")


@pytest.fixture(scope="module")
def worker(folder):
    errors = (folder / "errors.txt").open("w")
    process = subprocess.Popen(
        [sys.executable, str(WORKER), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=single_device(os.environ),
        text=True,
    )
    yield process
    assert process.stdin is not None and process.stdout is not None
    process.stdin.close()
    process.wait(timeout=60)
    process.stdout.close()
    errors.close()


@pytest.mark.parametrize("name", DEFINITIONS)
def test_every_cell_is_run_and_gets_its_figure(name, worker, folder):
    worker.stdin.write(f"{name}\n")
    worker.stdin.flush()
    assert worker.stdout.readline() == "0\n", (folder / "errors.txt").read_text()[-3000:]
    experiment = define(name, "smoke")
    for it in measure(experiment, folder / "results"):
        # More where another experiment, which runs more seeds, shares the run.
        assert len(it.values) >= experiment.seeds, it.cell
    results = folder / "results" / name / "smoke"
    assert "not run" not in (results / "table.md").read_text()
    assert (results / "plot.png").exists() and (results / "plot.svg").exists()
