"""What a pre-training says of its encoder and its skips while it runs, recomputed from outside."""

from pathlib import Path

import command
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from sklearn.linear_model import RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from symskip_jax import cli
from symskip_jax.config import config_from_flat
from symskip_jax.evaluation.reconstruction import corrupt_for_evaluation
from symskip_jax.experiments import setup
from symskip_jax.training.checkpoints import load_variables
from symskip_jax.training.logs import RunLog
from symskip_jax.training.records import read_metrics
from symskip_jax.transforms import Normalization

# Three layers, so that there is a skip inside.
SETTINGS = (
    "--config.model.blocks=(3, 0, 0, 0)",
    "--config.pretrain.epochs=1",
    "--config.pretrain.learning_rate=1e-2",
    "--config.run.monitor_images=1000",
)
OF_LABELS = {f"{it}_accuracy{end}" for it in ("knn", "linear") for end in ("", "_middle")}
FIGURES = {*OF_LABELS, "monitor_count", "psnr_without_skips"}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "images.npz"
    command.write_images(path, train=100)
    return path


@pytest.fixture(scope="module")
def pretrain(tmp_path_factory):
    """Runs a tiny pre-training in this process and returns its folder."""

    def call(data: Path, *more: str) -> Path:
        workdir = tmp_path_factory.mktemp("runs") / "tiny"
        arguments = command.pretrain(workdir, f"npz:{data}", *SETTINGS, *more)
        assert cli.main([*map(str, arguments)]) == 0
        return workdir

    return call


@pytest.fixture(scope="module")
def run(pretrain, data) -> Path:
    return pretrain(data, "--config.run.monitor_images=20")


def last_test(workdir: Path) -> dict:
    return [record for record in read_metrics(workdir) if record["split"] == "test"][-1]


@pytest.fixture(scope="module")
def run_on_everything(pretrain, data) -> Path:
    """Pre-trained on the test images too, without labels."""
    union = f"npz:{data}@train + npz:{data}@test"
    name = f"--config.data.pretrain_name={union}"
    return pretrain(data, "--config.run.monitor_images=20", name)


@pytest.mark.parametrize("of", ["run", "run_on_everything"])
@pytest.mark.parametrize(("end", "layer"), [("", 2), ("_middle", 1)])
def test_classes_are_told_by_the_features_that_symskip_features_writes(
    of, request, tmp_path, end, layer
):
    run, found = request.getfixturevalue(of), {}
    for split in ("train", "test"):
        out = tmp_path / f"{split}.npz"
        words = ("features", run, "--split", split, "--layer", f"encoder.{layer}.relu")
        assert cli.main([*map(str, (*words, "--out", out))]) == 0
        with np.load(out) as archive:
            found[split] = archive["features"].astype(np.float64), archive["label"]
    # Twenty a class of the four, of the training images alone.
    drawn = np.sort(np.random.RandomState(0).permutation(100)[:80])
    (x, labels), (new, answers) = found["train"], found["test"]
    x, labels = x[drawn], labels[drawn]
    neighbours = KNeighborsClassifier(20, weights=lambda d: np.exp(-d / 0.07), metric="cosine")
    expected = neighbours.fit(x, labels).score(new, answers)
    assert last_test(run)[f"knn_accuracy{end}"] == expected
    assert last_test(run)["monitor_count"] == len(answers)
    scaler = StandardScaler().fit(x)
    x, new = (scaler.transform(it) / np.sqrt(x.shape[1]) for it in (x, new))
    expected = RidgeClassifier(alpha=1e-3 * 80).fit(x, labels).score(new, answers)
    assert last_test(run)[f"linear_accuracy{end}"] == expected


def test_the_psnr_without_skips_is_that_of_a_decoder_that_gets_none(run, data):
    restored = load_variables(run)
    config = config_from_flat(restored.meta["config"])
    model = setup.make_autoencoder(config, 3)
    normalization = Normalization.from_facts(restored.meta["normalization"])
    with np.load(data) as arrays:
        clean = jnp.asarray(arrays["test_images"][:, :7, :7], jnp.float32)
    corruption = setup.make_corruption(config, normalization)
    corrupted = corrupt_for_evaluation(corruption, jnp.arange(16), clean)
    expected = []
    for scale in (1.0, 0.0):
        inputs = normalization.normalize(corrupted)
        output = model.apply(setup.variables_of(restored), inputs, train=False, skip_scale=scale)
        pixels = np.clip(np.asarray(normalization.denormalize(output), np.float64), 0, 255)
        errors = np.square(pixels - np.asarray(clean)).mean((1, 2, 3))
        expected.append((10 * np.log10(255**2 / errors)).mean())
    record = last_test(run)
    assert [record["psnr"], record["psnr_without_skips"]] == pytest.approx(expected, abs=1e-3)
    assert abs(expected[0] - expected[1]) > 0.01


def test_looking_changes_nothing_of_what_is_learnt(run, data, pretrain, capsys):
    blind = pretrain(data, "--config.run.monitor_images=0")
    assert not FIGURES & last_test(blind).keys()
    seen = {key: value for key, value in last_test(run).items() if key not in FIGURES}
    assert seen.keys() == last_test(blind).keys()
    tiny.assert_same(load_variables(run).state["params"], load_variables(blind).state["params"])
    # Nor is it another run: what is looked at may change from start to start.
    arguments = command.pretrain(blind, f"npz:{data}", *SETTINGS, "--config.run.monitor_images=5")
    capsys.readouterr()
    assert cli.main([*map(str, arguments)]) == 0
    assert "finished already" in capsys.readouterr().err


def test_labels_are_looked_for_where_fine_tuning_has_them(data, pretrain, tmp_path):
    bare = tmp_path / "bare.npz"
    command.write_images(bare, train_labels=None, test_labels=None)
    two_sets = pretrain(data, f"--config.data.pretrain_name=npz:{bare}")
    assert last_test(two_sets).keys() >= FIGURES


@pytest.mark.parametrize(("count", "told"), [(1, "of 1 image"), (1000, "of 1,000 images")])
def test_the_line_of_probes_says_of_how_many_images(tmp_path, capsys, count, told):
    record = {"step": 1, "epoch": 1.0, "split": "test", "monitor_count": count}
    with RunLog(tmp_path, 0, 1) as log:
        log.write(record | {"linear_accuracy": 1.0, "knn_accuracy": 0.0})
    assert f"linear probe 100.00% kNN 0.00% ({told})\n" in capsys.readouterr().err


def test_without_labels_or_skips_there_is_nothing_to_say(pretrain, tmp_path):
    bare = tmp_path / "bare.npz"
    command.write_images(bare, train_labels=None, test_labels=None)
    assert not FIGURES & last_test(pretrain(bare, "--config.model.skip=none")).keys()


def test_a_number_that_makes_no_sense_is_refused(data, tmp_path, capsys):
    arguments = command.pretrain(tmp_path / "run", f"npz:{data}", "--config.run.monitor_images=-1")
    assert cli.main([*map(str, arguments)]) == cli.EXIT_WRONG_INPUT
    assert "config key run.monitor_images=-1 must be 0 or more" in capsys.readouterr().err
