"""`symskip features` from outside, on a network of two layers."""

import json
import os
import re
import signal
import time
from pathlib import Path

import command
import jax.numpy as jnp
import numpy as np
import pytest
from devkit import write_devkit
from PIL import Image
from pyarrow import parquet
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from symskip_jax import cli
from symskip_jax.config import config_from_flat
from symskip_jax.data.sources import open_source
from symskip_jax.experiments import setup
from symskip_jax.models import activations
from symskip_jax.training.checkpoints import load_variables
from symskip_jax.transforms import Normalization

PAGE = Path(__file__).resolve().parent.parent / "docs" / "features.md"
DEEPEST = "encoder.1.relu"  # [2, 2, 8]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "images.npz"
    command.write_images(path)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory, data) -> Path:
    workdir = tmp_path_factory.mktemp("runs") / "tiny"
    arguments = command.pretrain(workdir, f"npz:{data}", "--config.pretrain.epochs=1")
    assert cli.main([*map(str, arguments)]) == 0
    return workdir


def activation(run: Path, layer: str, images: np.ndarray) -> np.ndarray:
    """Of the central crops, by hand."""
    restored = load_variables(run)
    model = setup.make_autoencoder(config_from_flat(restored.meta["config"]), 3)
    pixels = images[:, :7, :7].astype(np.float32)  # of 8x8, the crop of `command.TINY`
    inputs = Normalization.from_facts(restored.meta["normalization"]).normalize(jnp.asarray(pixels))
    return np.asarray(activations(model, setup.variables_of(restored), inputs)[layer])


def test_all_images_of_the_split_are_there_as_the_network_sees_them(symskip, run, data, tmp_path):
    out = tmp_path / "features.npz"
    assert str(out) in symskip("features", run, "--out", out)
    source = open_source(f"npz:{data}", "test")
    maps = activation(run, DEEPEST, source.images_nhwc)
    with np.load(out) as found:
        assert found["features"].dtype == np.float32 and found["features"].shape == (16, 8)
        np.testing.assert_allclose(found["features"], maps.mean((1, 2)), atol=1e-5)
        np.testing.assert_array_equal(found["label"], source.labels())
        np.testing.assert_array_equal(found["index"], np.arange(16))
        assert found["name"].tolist() == [str(i) for i in range(16)]
        facts = json.loads(str(found["facts"]))
    assert facts["layer"] == DEEPEST and facts["class_names"] == ["0", "1", "2", "3"]
    assert not (tmp_path / "features.npz.parts").exists()


@pytest.mark.parametrize("layer", ["decoder.1.relu", "encoder.0.raw"])
def test_any_layer_whole_of_another_split(symskip, run, data, tmp_path, layer):
    out = tmp_path / "whole.npz"
    symskip("features", run, "--split", "train", "--layer", layer, "--grid", 0, "--out", out)
    maps = activation(run, layer, open_source(f"npz:{data}", "train").images_nhwc)
    with np.load(out) as found:
        np.testing.assert_allclose(found["features"], maps.reshape(48, -1), atol=1e-5)


def test_a_table_holds_the_same(symskip, run, tmp_path):
    for suffix in ("npz", "parquet"):
        symskip("features", run, "--grid", 2, "--out", tmp_path / f"it.{suffix}")
    table = parquet.read_table(tmp_path / "it.parquet")
    with np.load(tmp_path / "it.npz") as found:
        rows = np.stack(table["features"].to_numpy())
        assert rows.dtype == np.float32
        np.testing.assert_array_equal(rows, found["features"])
        np.testing.assert_array_equal(table["label"].to_numpy(), found["label"])
        assert table["name"].to_pylist() == found["name"].tolist()
        assert json.loads(table.schema.metadata[b"symskip"]) == json.loads(str(found["facts"]))


def test_a_fine_tuned_network_has_features_and_logits(symskip, run, data, tmp_path):
    workdir = tmp_path / "finetuned"
    arguments = command.finetune(
        *(workdir, f"npz:{data}", f"--init={run}"),
        *("--config.finetune.epochs=1", "--config.finetune.head_epochs=0"),
    )
    symskip(*arguments)
    out = tmp_path / "logits.npz"
    assert str(out) in symskip("features", workdir, "--layer", "head.logits", "--out", out)
    symskip("evaluate", "--workdir", workdir)
    with np.load(out) as found:
        accuracy = (found["features"].argmax(1) == found["label"]).mean()
    assert accuracy == json.loads((workdir / "evaluation.json").read_text())["accuracy"]


def test_the_page_of_features_shows_what_works(symskip, run, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    for split in ("train", "test"):
        symskip("features", run, "--split", split, "--out", f"{split}.npz")
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    exec(compile(code, "features.md", "exec"), {})
    with np.load("train.npz") as train, np.load("test.npz") as test:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
        model.fit(train["features"], train["label"])
        expected = model.score(test["features"], test["label"])
    assert float(capfd.readouterr().out) == pytest.approx(expected, abs=1e-3)


def write_folder(root: Path) -> None:
    random = np.random.default_rng(0)
    for i, name in enumerate(["a/x", "a/y", "b/x", "b/z"]):
        path = root / "train" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (9, 8 + i, 3), np.uint8)).save(path)


def test_a_folder_has_names_and_broken_files_are_left_out_if_asked_for(
    symskip, run, tmp_path, capfd
):
    write_folder(tmp_path / "photos")
    broken = tmp_path / "photos" / "train" / "a" / "y.png"
    broken.write_bytes(broken.read_bytes()[:40])
    call = ("features", run, "--data", f"folder:{tmp_path / 'photos'}", "--split", "train")
    out = tmp_path / "photos.npz"
    assert "data.bad_image=skip" in symskip(*call, "--out", out)
    words = (*call, "--config.data.bad_image=skip", "--out", out.with_name("skipped.npz"))
    assert cli.main([*map(str, words)]) == 0
    said = capfd.readouterr().err
    assert "photos train: 3 images of 4; the others cannot be decoded\n" in said
    with np.load(out.with_name("skipped.npz")) as found:
        assert found["name"].tolist() == ["train/a/x.png", "train/b/x.png", "train/b/z.png"]
        assert found["index"].tolist() == [0, 2, 3] and found["label"].tolist() == [0, 1, 1]
        assert len(found["features"]) == 3


def test_of_voc_every_class_and_the_ids_are_kept(symskip, run, tmp_path):
    root = write_devkit(tmp_path).parent
    source = open_source(f"voc:{root}", "train")
    for suffix in ("npz", "parquet"):
        symskip(
            *("features", run, "--data", f"voc:{root}", "--split", "train"),
            *("--out", tmp_path / f"voc.{suffix}"),
        )
    expected = np.stack([source[i].label for i in range(len(source))])
    with np.load(tmp_path / "voc.npz") as found:
        np.testing.assert_array_equal(found["label"], expected)
        assert found["name"].tolist() == [Path(source.describe(i)).stem for i in range(len(source))]
    table = parquet.read_table(tmp_path / "voc.parquet")
    assert table["label"].to_pylist() == expected.tolist()


def test_without_labels_there_are_none(symskip, run, tmp_path):
    command.write_images(tmp_path / "bare.npz", train_labels=None, test_labels=None)
    out = tmp_path / "features.npz"
    symskip("features", run, "--data", f"npz:{tmp_path / 'bare.npz'}", "--out", out)
    with np.load(out) as found:
        assert sorted(found) == ["facts", "features", "index", "name"]


def test_interrupted_by_signals_it_ends_with_the_same_bytes(symskip, run, tmp_path):
    command.write_images(tmp_path / "many.npz", test=6400)
    many = ("features", run, "--data", f"npz:{tmp_path / 'many.npz'}")
    many = (*many, "--config.run.eval_batch_size=8")
    out, parts = tmp_path / "cut.npz", tmp_path / "cut.npz.parts"
    seen = 0
    for number, status in ((signal.SIGTERM, 75), (signal.SIGKILL, -signal.SIGKILL)):
        process = command.start(*many, "--out", out)
        deadline = time.monotonic() + command.PATIENCE
        while len(list(parts.glob("0*.npz"))) < seen + 8:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(process.pid, number)
        _, err = process.communicate(timeout=command.PATIENCE)
        assert process.returncode == status, err
        assert not out.exists()
        assert seen < len(list(parts.glob("0*.npz"))) < 800
        seen = len(list(parts.glob("0*.npz")))
    # Others' parts are not taken for these.
    assert "grid (1 there, 2 here)" in symskip(*many, "--grid", 2, "--out", out)
    # A part that was not written to its end is made again, and what is behind it.
    last = max(parts.glob("0*.npz"))
    last.write_bytes(last.read_bytes()[:-30])
    times = {path: path.stat().st_mtime_ns for path in sorted(parts.glob("0*.npz"))[:4]}
    symskip(*many, "--out", out)
    assert times and not parts.exists()
    symskip(*many, "--out", tmp_path / "whole.npz")
    assert out.read_bytes() == (tmp_path / "whole.npz").read_bytes()


def test_one_at_a_time_and_never_over_another_file(symskip, run, tmp_path):
    out = tmp_path / "features.npz"
    symskip("features", run, "--out", out)
    made = out.read_bytes()
    assert "finished already" in symskip("features", run, "--out", out)
    assert "split" not in (refusal := symskip("features", run, "--split", "train", "--out", out))
    assert "holds other features" in refusal
    assert out.read_bytes() == made
    out.write_bytes(b"mine")
    assert "not by `symskip features`" in symskip("features", run, "--out", out)
    assert out.read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (
            ("--layer", "encoder.7.relu"),
            "--layer encoder.7.relu: there is no such layer; there are",
        ),
        (("--layer", "encodr.0.relu"), "; did you mean encoder.0.relu?"),
        (("--grid", "-1"), "--grid -1 must be 0 or more"),
        (("--step", "77"), "77"),
        (
            ("--data", "npz:nowhere.npz"),
            "does not exist; if it is elsewhere, name it with --data=NAME",
        ),
        (("--data", "digits"), "channels"),
        (("--split", "validation"), "validation_images"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(symskip, run, tmp_path, words, answer):
    assert answer in symskip("features", run, *words, "--out", tmp_path / "it.npz")
    assert list(tmp_path.iterdir()) == []


def test_files_that_cannot_be_written_are_told(symskip, run, tmp_path, monkeypatch):
    assert "must end in .npz or .parquet" in symskip("features", run, "--out", tmp_path / "it.csv")
    (tmp_path / "file").write_text("")
    assert "--out" in symskip("features", run, "--out", tmp_path / "file" / "it.npz")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    refusal = symskip("features", run, "--out", tmp_path / "it.parquet")
    assert "-e '.[tables]'" in refusal
