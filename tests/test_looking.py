"""`symskip probe` and `symskip visualize` from outside, on a network of two layers."""

import base64
import contextlib
import io
import json
import shutil
from pathlib import Path

import command
import numpy as np
import pytest
from devkit import write_devkit
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.preprocessing import StandardScaler
from test_analysis import find_tile, read_rgb
from test_report import Page

from symskip_jax import cli
from symskip_jax.config import config_from_flat
from symskip_jax.data.splits import draw_labelled
from symskip_jax.experiments import setup
from symskip_jax.models import activations
from symskip_jax.training.checkpoints import load_variables
from symskip_jax.transforms import Normalization, center_crop

LAYERS = {"encoder.0.relu": [4, 4, 4], "encoder.1.relu": [2, 2, 8]}
SETTINGS = (
    "--config.probe.num_labels=24",
    "--config.probe.l2=(1e-2,)",
    "--config.probe.parameters=2000",
    "--config.probe.batch_size=8",
    "--config.probe.learning_rate=1e-2",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "images.npz"
    command.write_images(path)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory, data) -> Path:
    workdir = tmp_path_factory.mktemp("runs") / "tiny"
    arguments = command.pretrain(workdir, f"npz:{data}", "--config.pretrain.epochs=2")
    assert cli.main([*map(str, arguments)]) == 0
    return workdir


@pytest.fixture(scope="module")
def probed(run) -> dict:
    """What `symskip probe` wrote, first of one kind, then of both."""
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    verb = ["probe", f"--workdir={run}", *SETTINGS]
    assert cli.main([*verb, "--kind=classification", "--layers", "encoder.1.relu"]) == 0
    first = json.loads((run / "probe.json").read_text())["layers"]
    assert first["encoder.0.relu"] == {"shape": [4, 4, 4]}
    assert set(first["encoder.1.relu"]) == {"shape", "classification"}
    assert cli.main(verb) == 0
    both = json.loads((run / "probe.json").read_text())
    # Seconds and all: what is there is not measured again.
    kept = both["layers"]["encoder.1.relu"]["classification"]
    assert kept == first["encoder.1.relu"]["classification"]
    assert all(path.read_bytes() == content for path, content in before.items())
    return both


def images_of(data: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    with np.load(data) as arrays:
        return arrays[f"{split}_images"], arrays[f"{split}_labels"]


def test_softmax_regression_is_scikit_learns_on_the_activations(run, data, probed):
    restored = load_variables(run)
    model = setup.make_autoencoder(config_from_flat(restored.meta["config"]), 3)
    normalization = Normalization.from_facts(restored.meta["normalization"])
    learnt, measured = images_of(data, "train"), images_of(data, "test")

    def features(images: np.ndarray) -> dict[str, np.ndarray]:
        pixels = normalization.normalize(center_crop(images, (7, 7)))
        found = activations(model, setup.variables_of(restored), pixels)
        return {name: np.asarray(found[name], np.float64) for name in LAYERS}

    # The draw of fine-tuning.
    drawn = draw_labelled(learnt[1], 24, 0)
    train, test = features(learnt[0][drawn]), features(measured[0])
    for name, shape in LAYERS.items():
        scaler = StandardScaler().fit(train[name].reshape(-1, shape[2]))
        x, new = (
            scaler.transform(found[name].reshape(-1, shape[2])).reshape(-1, np.prod(shape))
            / np.sqrt(np.prod(shape))
            for found in (train, test)
        )
        expected = LogisticRegression(C=1 / (1e-2 * 24), tol=1e-9, max_iter=10_000)
        expected.fit(x, learnt[1][drawn])
        ours = probed["layers"][name]["classification"]
        assert ours["accuracy"] == expected.score(new, measured[1])
        assert (ours["features"], ours["count"], ours["l2"]) == (np.prod(shape), 16, 1e-2)
        assert 0 < ours["gradient_norm"] < 2e-4
        assert ours["parameters"] == (np.prod(shape) + 1) * 4


def test_a_stack_rebuilds_better_than_the_mean_image(data, probed):
    train, test = images_of(data, "train")[0], images_of(data, "test")[0][:, :7, :7]
    errors = np.square(test - train[:, :7, :7].mean(0)).mean((1, 2, 3))
    floor = (10 * np.log10(255**2 / errors)).mean()
    for layer in probed["layers"].values():
        assert layer["reconstruction"]["parameters"] == pytest.approx(2000, rel=0.05)
        assert layer["reconstruction"]["count"] == 16
        # It learns for 20 epochs, with a rate that has fallen to nearly 0 in the last.
        assert abs(layer["reconstruction"]["last_gain"]) < 0.1
    assert probed["layers"]["encoder.0.relu"]["reconstruction"]["psnr"] > floor + 0.3


def test_a_probe_is_printed_and_drawn_beside_others(run, probed, symskip, tmp_path):
    other = tmp_path / "elsewhere"
    verb = ("probe", "--kind=classification", "--layers", "encoder.0.relu")
    table = symskip(
        *(
            *verb,
            "--init-only",
            *command.TINY,
            f"--config.data.name={probed['protocol']['data'][:-6]}",
        ),
        *(f"--workdir={other}", *SETTINGS, "--beside", run),
    )
    header, row = table.splitlines()
    assert header.split() == ["layer", "size", "features", "accuracy", "PSNR", "seconds"]
    assert row.split()[:3] == ["encoder.0.relu", "4x4x4", "64"] and row.split()[3].endswith("%")
    found = json.loads((other / "probe.json").read_text())
    assert found["protocol"]["verb"] == "init" and not (other / "checkpoints").exists()
    drawing = (other / "probe.svg").read_text()
    assert ">elsewhere<" in drawing and ">tiny<" in drawing
    assert (other / "probe.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        (("--layers", "encodr.0.relu"), ["--layers encodr.0.relu", "did you mean encoder.0.relu?"]),
        (("--layers", "encoder.9.relu"), ["encoder.9.relu", "encoder.0.relu, encoder.1.relu"]),
        (("--config.probe.epochs=3",), ["config.probe.epochs (20 there, 3 here)", "--out"]),
        (("--config.probe.l2=()",), ["probe.l2=()", "at least one"]),
        (("--init-only",), ["--init-only", "--config"]),
        (("--init_only", "--step=3"), ["--step 3", "--init-only"]),
        (("--config.model.n=8",), ["config.model", "another network"]),
        (("--beside", "nowhere"), ["nowhere/probe.json", "symskip probe"]),
        (("--kind=pixels",), ["pixels", "classification"]),
    ],
)
def test_what_cannot_be_probed_is_refused(run, probed, symskip, more, parts):
    message = symskip("probe", f"--workdir={run}", *SETTINGS, *more)
    assert all(part in message for part in parts), message


def test_probes_of_another_run_are_refused_however_alike(run, probed, data, symskip, tmp_path):
    corruption = "--config.corruption.num_blocks=1"
    other = tmp_path / "other"
    symskip(*command.pretrain(other, f"npz:{data}", "--config.pretrain.epochs=2", corruption))
    before = (run / "probe.json").read_bytes()
    message = symskip("probe", f"--workdir={other}", *SETTINGS, f"--out={run / 'probe.json'}")
    differing = message.partition("holds other probes: ")[2]
    assert differing.startswith("weights (") and differing.count(" there, ") == 1, message
    # Nor is a run that was trained anew to the same step in the same folder.
    again = tmp_path / "again"
    shutil.copytree(run, again)
    shutil.rmtree(again / "checkpoints")
    shutil.copytree(other / "checkpoints", again / "checkpoints")
    assert "weights (" in symskip("probe", f"--workdir={again}", *SETTINGS)
    assert (run / "probe.json").read_bytes() == before


@pytest.mark.parametrize(
    ("scheme", "has"), [("voc", "several classes"), ("voc_segmentation", "each pixel")]
)
def test_images_of_more_than_one_class_are_not_probed(symskip, tmp_path, scheme, has):
    name = f"--config.data.name={scheme}:{write_devkit(tmp_path)}"
    options = ("--config.data.test_split=val", f"--workdir={tmp_path / 'run'}")
    message = symskip("probe", "--init-only", *command.TINY, name, *options)
    assert has in message and "--config.data.name" in message
    assert not (tmp_path / "run").exists()


def test_features_that_do_not_fit_ask_for_a_grid(run, symskip, tmp_path, monkeypatch):
    monkeypatch.setattr("symskip_jax.experiments.probe.memory_bytes", lambda: 10_000)
    verb = ("probe", f"--workdir={run}", *SETTINGS, f"--out={tmp_path / 'grid.json'}")
    assert "probe.grid=0" in symskip(*verb)
    assert "64" not in symskip(*verb, "--config.probe.grid=1", "--kind=classification")
    found = json.loads((tmp_path / "grid.json").read_text())["layers"]
    assert [layer["classification"]["features"] for layer in found.values()] == [4, 8]


def test_maps_are_drawn_over_the_images_and_measured(run, data, looked):
    found = overall_of(run / "images", "encoder.1.relu", whole=True)
    assert found["layer"] == "encoder.1.relu"
    line, overall = looked[1][1], found["overall"]
    assert line.startswith("maps of encoder.1.relu (2x2x8): cosine with the clean image's ")
    for name, words in (
        ("corrupted", " if corrupted"),
        ("occluded", " if occluded"),
        ("between", " of another image"),
    ):
        assert f"{overall[name]:.2f}{words}" in line
    assert f"({overall['kept']:.0%} kept)" in line and f"({overall['occluded_kept']:.0%}" in line
    assert found["images"] == 16 and found["corruption"] == "2 blocks of, 3x3 pixels"
    activity = [channel["activity"] for channel in found["channels"]]
    assert activity == sorted(activity, reverse=True)
    assert sorted(channel["channel"] for channel in found["channels"]) == list(range(8))
    assert 0 < found["overall"]["corrupted"] <= 1 and found["top"] == [
        [channel["channel"] for channel in found["channels"][:2]]
    ]
    sheet = np.ascontiguousarray(read_rgb(run / "images" / "maps_encoder.1.relu.png"))
    tops = [find_tile(sheet, image[:7, :7], 19) for image in images_of(data, "test")[0][:3]]
    assert None not in tops and sorted(tops) == tops
    assert (run / "images" / "likeness_encoder.1.relu.svg").is_file()


def overall_of(folder: Path, layer: str, *, whole: bool = False) -> dict:
    """The figures of a layer that were written beside its maps."""
    found = json.loads((folder / f"maps_{layer}.json").read_text())
    return found if whole else found["overall"]


def test_an_image_that_is_not_corrupted_keeps_its_maps(run, symskip, tmp_path):
    arguments = ("visualize", run, "--against=train", "--layer=encoder.0.relu", f"--out={tmp_path}")
    line, written = symskip(*arguments, "--config.corruption.num_blocks=0").splitlines()
    assert "1.00 if corrupted (100% kept)" in line
    assert written == str(tmp_path / "maps_encoder.0.relu.png") and Path(written).is_file()
    found = overall_of(tmp_path, "encoder.0.relu")
    assert found["corrupted"] == pytest.approx(1) and found["kept"] == pytest.approx(1)
    assert found["between"] < 1 and found["top_kept"] == 1


def test_two_splits_are_told_apart_on_one_sheet(run, data, symskip, tmp_path):
    verb = ("visualize", f"--workdir={run}", f"--out={tmp_path}", "--images=2", "--channels=3")
    line, _ = symskip(*verb, "--against=train").splitlines()
    found = overall_of(tmp_path, "encoder.1.relu", whole=True)
    measured = found["overall"]
    by_channel = {it["channel"]: it["selectivity"] for it in found["channels"]}
    more, less = found["top"]
    order = sorted(by_channel, key=lambda channel: -by_channel[channel])
    assert (more, less) == (order[:2], order[-1:])
    assert measured["selectivity"] == pytest.approx(np.mean([by_channel[it] for it in more]))
    assert measured["selectivity_against"] == pytest.approx(-by_channel[less[0]])
    assert 0 <= measured["top_kept"] <= 1
    apart = f"{measured['selectivity']:.2f} and {measured['selectivity_against']:.2f}"
    assert line.endswith(f"; channels drawn differ by {apart} standard deviations")
    sheet = np.ascontiguousarray(read_rgb(tmp_path / "maps_encoder.1.relu.png"))
    for split in ("test", "train"):
        for image in images_of(data, split)[0][:2]:
            assert find_tile(sheet, image[:7, :7], 19) is not None
    # The other way round, what was told apart from is what is shown first.
    symskip(*verb, "--config.data.test_split=train", "--against=test")
    flipped = overall_of(tmp_path, "encoder.1.relu")
    assert flipped["selectivity_against"] == pytest.approx(by_channel[order[0]])


def test_the_range_of_noise_is_told(run, symskip, tmp_path):
    noise = (f"--config.corruption.{it}" for it in ("kind=gaussian", "sigma=10", "sigma_max=100"))
    verb = ("visualize", run, "--against=train", "--layer=encoder.0.relu", f"--out={tmp_path}")
    symskip(*verb, *noise)
    found = json.loads((tmp_path / "maps_encoder.0.relu.json").read_text())
    assert found["corruption"] == "Gaussian noise, σ = 10 to 100"


def test_what_several_runs_rebuild_is_one_sheet(run, data, symskip, tmp_path):
    verb = ("visualize", "--reconstructions", "--images=2", f"--out={tmp_path}")
    symskip(*verb, "--workdir", run, run)
    sheet = read_rgb(tmp_path / "reconstructions.png")
    image = images_of(data, "test")[0][0][:7, :7]
    assert find_tile(np.ascontiguousarray(sheet), image, 19) == (8, 144)
    assert len(sheet) == 8 + 5 * (7 * 19 + 8) + 4 * 26 + 2 * 16


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        (("--layer", "encoder.0.relu", "encoder.1.raw"), ["encoder.1.raw", "encoder.1.relu"]),
        (("--layer", "a", "b", "--against=train"), ["--layer a b", "--against"]),
        (("--layer=encoder.1.raw",), ["encoder.1.raw", "did you mean encoder.1.relu?"]),
        (("--images=0",), ["--images 0", "1 or more"]),
        (("--reconstructions", "--layer=encoder.0.relu"), ["--layer encoder.0.relu"]),
        (("--reconstructions", "--against=train"), ["--against train"]),
        (("--against=nothing",), ["no array 'nothing_images'"]),
        (("--against=train", "--channels=1"), ["--channels 1", "2 or more"]),
        (("--workdir", "a", "b"), ["2 runs", "--reconstructions"]),
        (("--workdir", "nowhere", "--config.data.crop=(5, 5)"), ["no checkpoint in nowhere"]),
    ],
)
def test_what_cannot_be_drawn_is_refused(run, symskip, more, parts):
    message = symskip("visualize", f"--workdir={run}", *more)
    assert all(part in message for part in parts), message


@pytest.fixture(scope="module")
def looked(run) -> tuple[Page, list[str]]:
    """The page of the pre-training, and the lines that were printed."""
    return see(run, "--images=3", "--channels=2")


def see(run: Path, *more: str) -> tuple[Page, list[str]]:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert cli.main(["visualize", str(run), *more]) == 0
    lines = out.getvalue().splitlines()
    assert lines[-1] == str(run / "images" / "report.html")
    return Page(Path(lines[-1]).read_text(encoding="utf-8")), lines


def embedded(page: Page) -> list[bytes]:
    return [base64.b64decode(it["src"].partition(",")[2]) for it in page.attributes("img")]


def test_the_page_of_a_pretraining_has_every_picture_in_it(run, looked):
    page, lines = looked
    assert page.texts("h2") == [
        "What it rebuilds",
        "Filters of the first layer",
        "Maps of its layers",
        "Nearest neighbours",
        "Features in a plane",
    ]
    layers = [f"{kind}_{name}" for name in LAYERS for kind in ("maps", "likeness")]
    names = ["reconstructions", "filters", *layers, "neighbors", "embedding"]
    pictures = [(run / "images" / f"{name}.png").read_bytes() for name in names]
    assert embedded(page) == pictures
    assert all(it["alt"] for it in page.attributes("img"))
    assert [line.split()[2] for line in lines[:2]] == [*LAYERS]
    assert lines[-2].startswith("pictures, and their figures as JSON, are in ")
    measured = [overall_of(run / "images", name) for name in LAYERS]
    cells = [row[0] for tag, _, row in page.elements if tag == "th" and row[0] in LAYERS]
    assert cells == [*LAYERS]
    values = [f"{it[key]:.2f}" for it in measured for key in ("corrupted", "occluded", "between")]
    assert set(values) <= set(page.texts("td"))


def test_occlusion_is_measured_as_the_cosine_of_scikit_learn(run, data, looked):
    restored = load_variables(run)
    model = setup.make_autoencoder(config_from_flat(restored.meta["config"]), 3)
    normalization = Normalization.from_facts(restored.meta["normalization"])
    clean = images_of(data, "test")[0][:, :7, :7].astype(np.float32)
    # The crop of 7 pixels out of 8 leaves the last row and column out, half of 7 is 3.
    occluded = clean.copy()
    occluded[:, 2:5, 2:5] = normalization.mean
    maps = [
        np.asarray(
            activations(model, setup.variables_of(restored), normalization.normalize(it))[
                "encoder.0.relu"
            ]
        )
        for it in (clean, occluded)
    ]
    means = []
    for channel in range(4):
        one, other = (it[..., channel].reshape(16, -1) for it in maps)
        shows = one.any(1) | other.any(1)
        if shows.any():
            means.append(np.diag(cosine_similarity(one, other))[shows].mean())
    found = overall_of(run / "images", "encoder.0.relu")
    assert found["occluded"] == pytest.approx(np.mean(means), abs=1e-5)


def test_neighbours_share_the_class_as_scikit_learn_counts(run, data, looked):
    restored = load_variables(run)
    model = setup.make_autoencoder(config_from_flat(restored.meta["config"]), 3)
    normalization = Normalization.from_facts(restored.meta["normalization"])
    images, labels = images_of(data, "test")
    pixels = normalization.normalize(images[:, :7, :7].astype(np.float32))
    found = activations(model, setup.variables_of(restored), pixels)["encoder.1.relu"]
    cosines = cosine_similarity(np.asarray(found).mean((1, 2)))
    np.fill_diagonal(cosines, -np.inf)
    nearest = np.argsort(-cosines, axis=1)[:, :6]
    printed = json.loads((run / "images" / "neighbors.json").read_text())
    assert printed["same_class"] == pytest.approx((labels[nearest] == labels[:, None]).mean())
    assert printed["by_chance"] == pytest.approx(3 / 15)  # four images of each of four classes
    told = f"{printed['same_class']:.0%} are of the image's own class; 20% would be by chance."
    assert any(it.endswith(told) for it in looked[0].texts("figcaption"))
    assert looked[1][2].startswith("features of encoder.1.relu, 16 images of npz:")
    assert looked[1][2].endswith(f"Of the 6 nearest, {told}")
    sheet = np.ascontiguousarray(read_rgb(run / "images" / "neighbors.png"))
    tops = [find_tile(sheet, images[place][:7, :7], 19) for place in (0, *nearest[0])]
    assert None not in tops


def test_a_classifier_shows_what_it_takes_images_for(run, data, symskip):
    workdir = run.parent / "finetuned"
    more = (f"--init={run}", "--config.finetune.epochs=3")
    symskip(*command.finetune(workdir, f"npz:{data}", *more))
    page, lines = see(workdir, "--images=2", "--layer", "encoder.1.relu", "--embedding=pca")
    assert page.texts("h2")[0] == "What it takes them for"
    assert (workdir / "images" / "decisions.png").read_bytes() in embedded(page)
    assert len(lines) == 4 and all(" encoder.1.relu" in line for line in lines[:2])
    assert any("scikit-learn's PCA" in text for text in page.texts("figcaption"))
    # A page is replaced; what is not one is left alone.
    (workdir / "images" / "report.html").write_text("mine")
    assert "is no page of symskip" in symskip("visualize", workdir)
    assert (workdir / "images" / "report.html").read_text() == "mine"


def test_images_without_classes_are_looked_at_too(run, data, symskip, tmp_path):
    with np.load(data) as arrays:
        images = arrays["test_images"][:5]
    np.savez(tmp_path / "bare.npz", train_images=images, test_images=images)
    out = tmp_path / "out"
    bare = f"--config.data.name=npz:{tmp_path / 'bare.npz'}"
    lines = symskip("visualize", run, bare, f"--out={out}", "--layer=encoder.0.relu").splitlines()
    name = f"npz:{tmp_path / 'bare.npz'} test"
    assert lines[1] == f"features of encoder.0.relu, 5 images of {name}."
    numbers = json.loads((out / "neighbors.json").read_text())
    assert numbers == {"layer": "encoder.0.relu", "images": 5, "of": name}
    page = Page((out / "report.html").read_text(encoding="utf-8"))
    assert any(text.startswith("A dot an image: ") for text in page.texts("figcaption"))


def test_neighbours_without_a_label_are_no_misses(run, data, symskip, tmp_path):
    with np.load(data) as arrays:
        images = arrays["test_images"][:8]
    # Each has all others for neighbours, so that nothing but the counting decides.
    names = ("cat/a", "cat/b", "c", "other/d", "cat/e", "f", "g")
    places = [*(f"test/{name}" for name in names), "train/cat/h"]
    for place, image in zip(places, images, strict=True):
        path = tmp_path / "photos" / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    out = tmp_path / "out"
    some = f"--config.data.name=folder:{tmp_path / 'photos'}"
    said = symskip("visualize", run, some, f"--out={out}", "--layer=encoder.0.relu")
    assert "Only the 4 images with a label count, on both sides." in said
    numbers = json.loads((out / "neighbors.json").read_text())
    # Six of the twelve ordered pairs of labelled images are of one class.
    assert (numbers["same_class"], numbers["by_chance"]) == (0.5, 0.5)
    assert (numbers["images"], numbers["labelled"]) == (7, 4)


def test_visualize_needs_a_run(symskip):
    assert "symskip visualize WORKDIR" in symskip("visualize")


@pytest.mark.parametrize(("scheme", "split"), [("voc", "val"), ("voc_segmentation", "train")])
def test_networks_of_several_classes_an_image_show_what_they_can(symskip, tmp_path, scheme, split):
    data = f"{scheme}:{write_devkit(tmp_path)}"
    settings = (
        "--config.model.blocks=(2, 0, 0, 0)",
        "--config.data.num_labels=0",
        f"--config.data.test_split={split}",
        "--config.finetune.epochs=1",
        "--config.finetune.head_epochs=0",
    )
    symskip(*command.finetune(tmp_path / "run", data, *settings))
    words = ("--layer=encoder.1.relu", "--images=2", "--channels=2")
    page = tmp_path / "run" / "images" / "report.html"
    assert symskip("visualize", tmp_path / "run", *words).splitlines()[-1] == str(page)
    found = Page(page.read_text(encoding="utf-8"))
    titles = ["Filters of the first layer", "Maps of its layers", "Nearest neighbours"]
    # There are three images in the one split, and eight in the other.
    is_few = any("4 images at the least" in text for text in found.texts("p"))
    assert is_few == (split == "val")
    assert found.texts("h2") == (titles if is_few else [*titles, "Features in a plane"])
