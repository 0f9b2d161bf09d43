"""The notebooks of colab/: each runs from top to bottom, and is in step with its script."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import archives
import jupytext
import nbformat
import pytest
from command import PATIENCE, single_device
from data_helpers import noise_images

ROOT = Path(__file__).resolve().parent.parent
COLAB = ROOT / "colab"
SCRIPTS = sorted(COLAB.glob("*.py"))
# Pictures included: nobody waits for a notebook to open.
LIMIT_BYTES = 700_000

# A network of a few weights, for a few steps.
TINY = " ".join(
    (
        "'--config.model.blocks=(1, 1, 0, 0)'",
        "--config.model.n=4",
        "--config.pretrain.epochs=1",
        "'--config.pretrain.milestones=()'",
        "--config.finetune.epochs=2",
        "'--config.finetune.milestones=()'",
        "--config.finetune.head_epochs=1",
        "--config.run.monitor_images=0",  # it compiles for seconds
    )
)
SMALL = {
    "cifar10": [
        # The archive comes from the folder of the test, and its checksum is not the true one's.
        "import os, shutil, subprocess, urllib.request",
        "os.environ['TFDS_DATA_DIR'] = os.path.abspath('datasets')",
        "real_run = subprocess.run",
        "subprocess.run = lambda words, **how: real_run([*words, '--any_checksum'], **how)",
        "def copy(url, path):",
        "    print('copied in place of', url)",
        "    shutil.copy(os.environ['TINY_CIFAR10'], path)",
        "urllib.request.urlretrieve = copy",
        "WIDTH, SHARE = 1, ''",
        # Network-2 has its depth and width fixed.
        f"MORE = {TINY + ' --config.model.name=network_1 --config.data.num_labels=64'!r}",
        "MORE += \" '--config.data.crop=(8, 8)' --config.run.eval_batch_size=32\"",
    ],
    "quickstart": [f"OPTIONS = {TINY!r}"],
    "own_images": [
        f"OPTIONS = {TINY!r}",
        "OPTIONS += \" --config.pretrain.batch_size=8 '--config.data.crop=(17, 17)'\"",
        "SAMPLES = 8",
    ],
    "train_steps": ["BLOCKS, WIDTH = (1, 1, 0, 0), 16", "PRETRAIN_STEPS, FINETUNE_STEPS = 5, 60"],
}


# What else a notebook has to say.
SAYS = {
    "cifar10": (
        "copied in place of https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        "tfds:cifar10 train: 100 images",
        "tfds:cifar10 test: 40 images",
    ),
    "own_images": (
        "photos/made_windows holds 20 files",
        "{'features': (16, 8), 'label': (16,), 'name': (16,)}",
        " of 4 test photographs are told right\n50.0% of them are of the commonest class",
    ),
}


def write_cifar10(path: Path) -> None:
    """Writes the archive of CIFAR-10 with 100 and 40 images of noise, ten classes in turn."""
    _, files = archives.cifar("cifar10")
    splits = {
        split: archives.Images(
            noise_images(count, 32, 32, 3, seed=count), {"label": [i % 10 for i in range(count)]}
        )
        for split, count in (("train", 100), ("test", 40))
    }
    archives.write(path, archives.cifar_binary("cifar10", splits, files))


def run(name: str, out: Path, *settings: str) -> subprocess.CompletedProcess[str]:
    """Runs a notebook small, as the tool that stores them does."""
    words = [word for setting in settings for word in ("--set", setting)]
    write_cifar10(out.with_name("tiny.tar.gz"))
    command = [sys.executable, "tools/notebooks.py", f"colab/{name}.py", "--out", out, *words]
    return subprocess.run(
        command,
        cwd=ROOT,
        env={
            **single_device(os.environ),
            "PYTHONPATH": str(ROOT),
            "TINY_CIFAR10": str(out.with_name("tiny.tar.gz")),
        },
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def said(notebook: nbformat.NotebookNode) -> str:
    """All the text that cells print."""
    outputs = [it for cell in notebook.cells for it in cell.get("outputs", [])]
    return "".join(it.get("text", "") for it in outputs)


def test_every_notebook_is_tried_and_has_its_script() -> None:
    assert {path.stem for path in SCRIPTS} == set(SMALL)
    assert {path.stem for path in COLAB.glob("*.ipynb")} == set(SMALL)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_notebook_is_that_of_its_script(script: Path) -> None:
    notebook = jupytext.read(script.with_suffix(".ipynb"))
    assert (
        jupytext.writes(notebook, "py:percent").split("# %%", 1)[1]
        == (jupytext.writes(jupytext.read(script), "py:percent").split("# %%", 1)[1])
    )


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_what_is_stored_is_whole_and_small_and_of_no_machine(script: Path) -> None:
    path = script.with_suffix(".ipynb")
    assert path.stat().st_size < LIMIT_BYTES
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = [it for it in notebook.cells if it.cell_type == "code"]
    assert "install" in cells[0].metadata.tags and "pip install" in cells[0].source
    ran = [it.execution_count for it in cells[1:]]
    assert ran == list(range(1, len(cells)))
    for output in (it for cell in cells for it in cell.outputs):
        assert not {"image/jpeg", "image/png"} <= output.get("data", {}).keys()  # once is enough
    assert not re.search(r"Traceback|/(home|root|tmp|work|Users)/", json.dumps(notebook))
    assert not re.search(r"━|\x1b\[\d*[AK]|\r", said(notebook))  # progress bars
    assert not re.search(r"^\{\"", said(notebook), re.MULTILINE)  # for programs, not for people


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_notebook_runs_from_top_to_bottom(script: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.ipynb"
    done = run(script.stem, out, *SMALL[script.stem])
    assert done.returncode == 0, done.stderr
    printed = said(nbformat.read(out, as_version=4))
    # A command that fails does not stop a notebook.
    assert not re.search(r"^symskip: |Traceback", printed, re.MULTILINE), printed
    printed = re.sub(r"\x1b\[[\d;]*m", "", printed)  # colours
    assert all(it in printed for it in SAYS.get(script.stem, ())), printed
    percents = [float(it) for it in re.findall(r"(\d+\.\d)% of", printed)]
    if script.stem in ("cifar10", "quickstart"):
        # What the commands said after the last epoch of the two runs that are fine-tuned.
        measured = re.findall(r"accuracy ([\d.]+)%\n(?!epoch)", printed)
        assert percents == [float(it) for it in measured] and len(percents) == 2
    elif script.stem == "train_steps":
        assert len(percents) == 1 and percents[0] > 50  # a tenth is chance


def test_an_error_in_a_cell_ends_the_run_and_stores_nothing(tmp_path: Path) -> None:
    out = tmp_path / "small.ipynb"
    done = run("quickstart", out, "raise ValueError('on purpose')")
    assert done.returncode != 0 and "on purpose" in done.stderr
    assert not out.exists()


def unpack(monkeypatch: pytest.MonkeyPatch, folder: Path, **parameters: Any) -> tuple[str, Path]:
    """Runs the cells of own_images that unpack; gives the command that trains, and the photos."""
    notebook = jupytext.read(COLAB / "own_images.py")
    cells = [it for it in notebook.cells if it.cell_type == "code"]
    (first,) = (i for i, it in enumerate(cells) if "parameters" in it.metadata.get("tags", []))
    ours = {}
    monkeypatch.chdir(folder)
    for cell in cells[first:]:
        if "symskip pretrain" in cell.source:
            return cell.source.format(**ours), folder / ours["PHOTOS"]
        if not cell.source.startswith("!"):
            exec(cell.source, ours)
        if cell is cells[first]:
            ours |= parameters
    raise AssertionError("no cell trains")


def test_own_images_takes_the_images_of_the_zip_after_those_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made, of_made = unpack(monkeypatch, tmp_path, SAMPLES=8)
    assert len(list(of_made.rglob("*.jpg"))) == 2 * (8 + 2)
    for count in (3, 2):  # also a zip of less, in place of the one before
        images = {f"holiday/{i}/sea.jpg": archives.jpeg(i) for i in range(count)}
        with zipfile.ZipFile(tmp_path / "my photos.zip", "w") as archive:
            for name, content in images.items():
                archive.writestr(name, content)
            archive.writestr("__MACOSX/holiday/0/._sea.jpg", b"no photograph")
        trains, photos = unpack(monkeypatch, tmp_path, ZIP="my photos.zip")
        files = [it for it in photos.rglob("*") if it.is_file()]
        assert {f"holiday/{it.relative_to(photos)}": it.read_bytes() for it in files} == images
        assert f"folder:{photos.relative_to(tmp_path)}" in trains
        workdirs = [re.findall(r"--workdir (\S+)", it) for it in (made, trains)]
        assert workdirs == [["runs/made_windows"], ["runs/my_photos"]]
