"""Every experiment at the scale of smoke: the real commands, on data made for them."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command import COMMAND, PATIENCE, single_device

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


MAPS = ("likeness_encoder.2.relu.png", "maps_encoder.2.relu.png")
SHOWN = {
    "figure2": [f"{it}/seed_0/reconstructions.png" for it in ("sheet", "sheet_stl10", "sheet_voc")],
    "figure5": [f"maps_{it}/seed_0/{name}" for name in MAPS for it in ("animals", "vehicles")],
    "restoration": ["sheet_red10/seed_0/reconstructions.png"],
    "figure6": [f"maps_animals/seed_0/{name}" for name in MAPS],
}


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
    page = (results / "table.md").read_text()
    assert "not run" not in page and "made-up images" in page
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", page)
    assert pictures == SHOWN.get(name, []) and all((results / it).exists() for it in pictures)
    # Of one row there is nothing to compare.
    compared = name not in ("figure6", "restoration")
    assert (results / "plot.png").exists() == compared
    if compared:
        layers = name in ("figure3", "recipes")
        assert ("encoder layer" in (results / "plot.svg").read_text()) == layers


def test_a_command_that_is_stopped_stops_and_the_same_one_goes_on(tmp_path):
    words = ["reproduce", "table2", "--scale=smoke", "--only=random_he", "--seeds=1"]
    words += [f"--runs={tmp_path}/runs", f"--results={tmp_path}/results"]
    log = tmp_path / "runs" / "table2" / "smoke" / "random_he" / "seed_0" / "log.txt"
    environment = single_device(os.environ)
    process = subprocess.Popen(
        [*COMMAND, *words], env=environment, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + PATIENCE
    # The data is read: what follows compiles, and trains.
    while not log.exists() or "test: 20 images" not in log.read_text():
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 75, errors
    assert "random_he seed 0 was stopped; the same command goes on from there" in errors
    assert not [it for it in (tmp_path / "results").rglob("*") if it.is_file()]
    done = subprocess.run([*COMMAND, *words], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "[1/1] random_he seed 0" in done.stderr
    assert done.stdout.startswith("Of made-up images, to see that everything runs: no results.\n")
    assert "| from scratch, He | test accuracy (%) | – | not run |" not in done.stdout
