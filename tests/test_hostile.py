"""Files that come from elsewhere are data: nothing in them is executed."""

import json
import pickle
import shutil
from pathlib import Path

import command
import numpy as np
import pytest

from symskip_jax import cli


class Executed:
    """Writes a file when a pickle of it is read."""

    def __init__(self, path: Path):
        self._path = path

    def __reduce__(self):
        return Path.touch, (self._path,)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    return command.write_images(tmp_path_factory.mktemp("data") / "images.npz")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, data) -> Path:
    workdir = tmp_path_factory.mktemp("runs") / "run"
    short = ("--config.pretrain.epochs=1", "--config.pretrain.milestones=()")
    assert cli.main([*map(str, command.pretrain(workdir, data, *short))]) == 0
    return workdir


def test_an_archive_with_a_pickle_in_it(tmp_path, capsys):
    mark = tmp_path / "executed"
    payload = np.empty(48, object)
    payload[:] = [Executed(mark)] * 48
    name = command.write_images(tmp_path / "images.npz", train_images=payload)
    assert cli.main([*map(str, command.pretrain(tmp_path / "run", name))]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not mark.exists()


@pytest.mark.parametrize(
    "file", ["meta/metadata", "_CHECKPOINT_METADATA", "state/_METADATA", "state/manifest.ocdbt"]
)
def test_a_checkpoint_with_a_pickle_for_a_file(tmp_path, finished, capsys, file):
    workdir, mark = tmp_path / "run", tmp_path / "executed"
    shutil.copytree(finished, workdir)
    for folder in (workdir / "checkpoints").iterdir():
        (folder / file).write_bytes(pickle.dumps(Executed(mark)))
    out = str(tmp_path / "seen")
    status = cli.main(["visualize", "--workdir", str(workdir), "--out", out])
    said = capsys.readouterr().err
    # Orbax's own file is not needed to read the state.
    assert status == (0 if file == "_CHECKPOINT_METADATA" else 2), said
    assert not mark.exists()


def test_a_configuration_of_a_run_with_a_program_in_it(tmp_path, finished, data, capsys):
    workdir, mark = tmp_path / "run", tmp_path / "executed"
    shutil.copytree(finished, workdir)
    config = json.loads((workdir / "config.json").read_text())
    config["config.pretrain.milestones"] = f"__import__('pathlib').Path({str(mark)!r}).touch()"
    (workdir / "config.json").write_text(json.dumps(config))
    assert cli.main([*map(str, command.pretrain(workdir, data))]) == 2
    assert "holds another run" in capsys.readouterr().err
    assert not mark.exists()
