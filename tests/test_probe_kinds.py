"""`symskip probe` by neighbours and by few labels, from outside and beside scikit-learn."""

import json
from pathlib import Path

import command
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from symskip_jax import cli
from symskip_jax.analysis.features import Extracted
from symskip_jax.analysis.label_probes import measure_few_shot
from symskip_jax.data.splits import draw_labelled

# More classes would be one more reason for a probe to fail; 24 of 48 images, 6 a class.
SETTINGS = ("--config.probe.num_labels=24", "--config.probe.l2=(1e-2,)")
LAYERS = ("encoder.0.relu", "encoder.1.relu")


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


@pytest.fixture(scope="module")
def probed(run) -> dict:
    verb = ["probe", f"--workdir={run}", *SETTINGS]
    assert cli.main([*verb, "--kind", "knn", "few_shot"]) == 0
    return json.loads((run / "probe.json").read_text())


@pytest.fixture(scope="module")
def features(run, tmp_path_factory) -> dict[str, tuple[dict, dict]]:
    """Those of the images that the probe learns from and is measured on, by layer."""
    found = {}
    for layer in LAYERS:
        both = []
        for split in ("train", "test"):
            out = tmp_path_factory.mktemp("features") / f"{split}.npz"
            words = ("features", str(run), "--split", split, "--layer", layer, "--out", str(out))
            assert cli.main([*words]) == 0
            with np.load(out) as archive:
                both.append({name: archive[name] for name in ("features", "label")})
        train, test = both
        drawn = draw_labelled(train["label"], 24, 0)
        found[layer] = {name: array[drawn] for name, array in train.items()}, test
    return found


@pytest.mark.parametrize("layer", LAYERS)
def test_neighbours_are_asked_as_scikit_learn_asks_them(probed, features, layer):
    train, test = features[layer]
    model = KNeighborsClassifier(20, weights=lambda d: np.exp((1 - d) / 0.07), metric="cosine")
    expected = model.fit(train["features"], train["label"]).score(test["features"], test["label"])
    found = probed["layers"][layer]["knn"]
    assert found["accuracy"] == expected
    assert (found["k"], found["count"]) == (20, 16)
    assert found["features"] == train["features"].shape[1]


@pytest.mark.parametrize("layer", LAYERS)
def test_few_labels_are_drawn_ten_times_and_the_rest_only_sets_the_scale(probed, features, layer):
    train, test = features[layer]
    scaler = StandardScaler().fit(train["features"].astype(np.float64))
    width = np.sqrt(train["features"].shape[1])
    x, new = (scaler.transform(it["features"]) / width for it in (train, test))
    found = probed["layers"][layer]["few_shot"]
    assert [shot["k"] for shot in found["shots"]] == [1, 2, 5]  # a class has 6
    for shot in found["shots"]:
        accuracies = []
        for seed in range(10):
            drawn = draw_labelled(train["label"], 4 * shot["k"], seed)
            model = LogisticRegression(C=1 / (1e-2 * len(drawn)), tol=1e-8, max_iter=10_000)
            accuracies.append(model.fit(x[drawn], train["label"][drawn]).score(new, test["label"]))
        # Of 160 answers one may tip at a boundary, as the solver's tolerance is another.
        assert shot["accuracy"] == pytest.approx(np.mean(accuracies), abs=1 / 160 + 1e-9)
        assert shot["std"] == pytest.approx(np.std(accuracies, ddof=1), abs=0.02)
    assert {key: found[key] for key in ("k", "accuracy", "std")} == found["shots"][-1]
    assert (found["draws"], found["count"], found["l2"]) == (10, 16, 1e-2)


def test_more_labels_help_where_classes_are_apart():
    random = np.random.default_rng(0)

    def draw(count: int) -> Extracted:
        labels = np.arange(count) % 4
        found = random.normal(size=(count, 8)) + 2 * np.eye(8)[labels]
        return Extracted(found.astype(np.float32), labels, np.arange(count))

    shots = measure_few_shot(draw(200), draw(400))["shots"]
    accuracies = [shot["accuracy"] for shot in shots]
    assert accuracies == sorted(accuracies) and accuracies[-1] > accuracies[0] + 0.1
    # One image a class says more or less, by which it is.
    assert shots[0]["std"] > shots[-1]["std"] > 0


def test_kinds_are_added_to_a_file_and_drawn_and_printed(run, probed, capfd):
    assert cli.main(["probe", f"--workdir={run}", *SETTINGS, "--kind", "linear", "knn"]) == 0
    header, *rows = capfd.readouterr().out.splitlines()
    assert header.split() == ["layer", "size", "features", "accuracy", "PSNR", "kNN", "seconds"]
    found = json.loads((run / "probe.json").read_text())
    assert found["protocol"] == probed["protocol"]
    for name, row in zip(LAYERS, rows, strict=True):
        layer = found["layers"][name]
        assert set(layer) == {"shape", "knn", "few_shot", "classification"}
        assert layer["knn"] == probed["layers"][name]["knn"]  # seconds and all: not measured anew
        assert row.split()[5] == f"{100 * layer['knn']['accuracy']:.2f}%"
    drawing = (run / "probe.svg").read_text()
    for words in ("softmax regression", "few labels a class", "nearest neighbours"):
        assert words in drawing
