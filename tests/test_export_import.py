"""`symskip import`: a run made of a file is the run it was exported from; what is no such file."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import command
import numpy as np
import pytest
import safetensors.numpy
import tiny
from data_helpers import write_image
from export_files import export, how_learnt, rewritten, symskip
from exported import THREE_LAYERS, save_colour_run, save_run
from safetensors import safe_open

from symskip_jax import cli
from symskip_jax.training.checkpoints import load_variables

RUNS = {
    "autoencoder": {},
    "segmenter": {"task": "segmentation"},
    "conv_pool": {
        "task": "multi_label",
        "fields": ("--config.model.name=network_2", "--config.model.width_multiplier=0.02"),
    },
    "fully_connected": {
        "task": "classification",
        "fields": (
            *("--config.model.name=network_3", "--config.model.width_multiplier=0.015625"),
            "--config.data.crop=(33,16)",
        ),
    },
    "red_net": {
        "fields": (
            *("--config.model.name=red_net", "--config.model.depth=10"),
            "--config.model.width_multiplier=0.0625",
        ),
        "fade": (4.0, 10.0),
    },
}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """The folder of an auto-encoder of coloured 7x7 images."""
    return save_colour_run(tmp_path_factory.mktemp("runs") / "theirs")


@pytest.fixture(scope="module")
def file(run: Path) -> Path:
    return export(run, run.parent / "autoencoder.safetensors")


@pytest.fixture(scope="module")
def imported(run: Path, file: Path) -> Path:
    workdir = run.parent / "ours"
    assert symskip("import", file, "--workdir", workdir) == 0
    return workdir


@pytest.fixture
def refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Imports a file into a new folder, or says other words, and returns the one line."""

    def refuse(*words: object) -> str:
        workdir = tmp_path / "refused"
        if isinstance(words[0], Path):
            words = ("import", words[0], "--workdir", workdir)
        capfd.readouterr()
        status = symskip(*words)
        out, err = capfd.readouterr()
        assert (status, out) == (cli.EXIT_WRONG_INPUT, ""), (status, out, err)
        assert err.startswith("symskip: ") and err.count("\n") == 1, err
        assert not workdir.exists()
        return err

    return refuse


@pytest.mark.parametrize("name", RUNS)
def test_a_round_trip_changes_no_bit(name: str, tmp_path: Path) -> None:
    options: dict[str, Any] = dict(RUNS[name])
    state = save_run(tmp_path / "a", *options.pop("fields", THREE_LAYERS), **options)
    file = export(tmp_path / "a", tmp_path / "a.safetensors")
    assert symskip("import", file, "--workdir", tmp_path / "b") == 0
    found = load_variables(tmp_path / "b")
    tiny.assert_same(found.state["params"], dict(state.params))
    tiny.assert_same(found.state.get("batch_stats", {}), dict(state.batch_stats))
    assert int(found.state["step"]) == 7
    ours, theirs = found.meta, load_variables(tmp_path / "a").meta
    assert {key: ours[key] for key in theirs} == theirs
    again = export(tmp_path / "b", tmp_path / "b.safetensors")
    assert again.read_bytes() == file.read_bytes()


def test_averaged_weights_are_what_is_exported(tmp_path: Path) -> None:
    """As everything else that takes a network on from a run takes them."""
    state = save_run(tmp_path / "a", *THREE_LAYERS, averaged=True)
    file = export(tmp_path / "a", tmp_path / "a.safetensors")
    with safe_open(file, framework="numpy") as tensors:
        bias = tensors.get_tensor("decoder.0.deconv.bias")
    averaged = np.asarray(state.opt_state.average["params"]["decoder"]["0"]["deconv"]["bias"])
    np.testing.assert_array_equal(bias, averaged)
    assert not np.array_equal(bias, state.params["decoder"]["0"]["deconv"]["bias"])


def test_evaluate_and_restore_go_on_from_it(run: Path, imported: Path, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (13, 10, 3), np.uint8)
    write_image(tmp_path / "image.png", image)
    for workdir in (run, imported):
        assert symskip("evaluate", "--workdir", workdir) == 0
        out = tmp_path / workdir.name
        assert symskip("restore", tmp_path / "image.png", "--workdir", workdir, "--out", out) == 0
    figures = [json.loads((it / "evaluation.json").read_text()) for it in (run, imported)]
    assert figures[0] == figures[1] and figures[0]["step"] == 7
    pictures = [(tmp_path / it.name / "image.png").read_bytes() for it in (run, imported)]
    assert pictures[0] == pictures[1]


def test_an_encoder_alone_is_said_to_be_one(run: Path, tmp_path: Path, refused: Any) -> None:
    file = export(run, tmp_path / "file.safetensors", "--part=encoder")
    workdir = tmp_path / "encoder"
    assert symskip("import", file, "--workdir", workdir) == 0
    assert "finetune --init" in refused("evaluate", "--workdir", workdir)
    assert "no auto-encoder" in refused("restore", tmp_path, "--workdir", workdir)
    assert "choose encoder" in refused(*("export", workdir, "--format=onnx", "--part=classifier"))
    again = export(workdir, tmp_path / "again.safetensors")
    a, b = (safetensors.numpy.load_file(it) for it in (file, again))
    tiny.assert_same(a, b)
    assert (
        how_learnt(again) == how_learnt(file) == f"Trained on `npz:{run.parent}/images.npz, train`."
    )


@pytest.mark.parametrize("task", [None, "classification"])
def test_the_layers_of_an_encoder_alone_are_not_looked_at(
    run: Path, tmp_path: Path, refused: Any, task: str | None
) -> None:
    data = f"--config.data.name=npz:{run.parent / 'images.npz'}"
    save_run(tmp_path / "whole", *command.TINY[1:], *THREE_LAYERS, data, task=task)
    file = export(tmp_path / "whole", tmp_path / "file.safetensors", "--part=encoder")
    workdir = tmp_path / "encoder"
    assert symskip("import", file, "--workdir", workdir) == 0
    for words in (("features", workdir, "--out", tmp_path / "it.npz"), ("visualize", workdir)):
        assert "an encoder alone cannot be looked at" in refused(*words)


def test_what_was_imported_is_looked_at_as_its_source(
    run: Path, imported: Path, tmp_path: Path
) -> None:
    for name, workdir in (("source", run), ("imported", imported)):
        assert symskip("features", workdir, "--out", tmp_path / f"{name}.npz") == 0
    source, ours = (dict(np.load(tmp_path / f"{it}.npz")) for it in ("source", "imported"))
    tiny.assert_same(source, ours)


def test_folders_that_hold_something_are_left_alone(
    run: Path, file: Path, imported: Path, tmp_path: Path, refused: Any
) -> None:
    before = sorted(imported.rglob("*"))
    assert symskip("import", file, "--workdir", imported) == 0  # the same once more
    assert sorted(imported.rglob("*")) == before
    other = export(run, tmp_path / "other.safetensors", "--part=encoder")
    assert "sha256" in refused("import", other, "--workdir", imported)
    assert "holds a run already" in refused("import", file, "--workdir", run)
    data = f"npz:{run.parent / 'images.npz'}"
    message = refused(*command.pretrain(imported, data, *THREE_LAYERS))
    assert "holds another run" in message and "'import' there, 'pretrain' here" in message
    assert sorted(imported.rglob("*")) == before


def _swap(arrays: dict, document: dict) -> None:
    arrays["encoder.0.conv.weight"] = np.zeros((4, 3, 3, 5), np.float32)


def _halve(arrays: dict, document: dict) -> None:
    arrays["encoder.0.conv.weight"] = arrays["encoder.0.conv.weight"].astype(np.float16)


BROKEN: dict[str, tuple[Callable[[dict, dict], Any], str]] = {
    "missing": (lambda a, d: a.pop("decoder.1.bn.bias"), "decoder.1.bn.bias is missing"),
    "extra": (lambda a, d: a.update(x=np.zeros(1, np.float32)), "no tensor x"),
    "shape": (_swap, "encoder.0.conv.weight is [4, 3, 3, 5]"),
    "dtype": (_halve, "encoder.0.conv.weight is F16"),
    "mean": (lambda a, d: d["network"].update(mean=[1.0]), "mean"),
    "mean_differs": (lambda a, d: d["network"].update(mean=[1.0, 2.0, 3.0]), "mean"),
    "part": (lambda a, d: d["network"].update(part="all of it"), "network.part is 'all of it'"),
    "other_part": (lambda a, d: d["network"].update(part="classifier"), "classifier"),
    "unknown": (lambda a, d: d["network"].update(color="red"), "color"),
    "lacks": (lambda a, d: d["network"].pop("layers"), "'layers'"),
    "later": (lambda a, d: d.update(layout_version=2, version="9.9"), "9.9"),
    "no_object": (lambda a, d: d.update(network=[1]), "metadata"),
    "no_run": (lambda a, d: d.pop("run"), "'run'"),
    "step": (lambda a, d: d["run"].update(step=-1), "step"),
    "spec": (lambda a, d: d["run"]["meta"].pop("spec"), "spec"),
    "config_key": (lambda a, d: d["run"]["meta"]["config"].update({"model.m": 1}), "model.m"),
    "figures": (lambda a, d: d["run"]["meta"].update(figures={"psnr": [1]}), "psnr"),
    "figures_step": (lambda a, d: d["run"]["meta"].update(figures={"psnr": 1}), "step"),
    "config_type": (lambda a, d: d["run"]["meta"]["config"].update({"model.n": "x"}), "metadata"),
    "network": (lambda a, d: d["run"]["meta"]["config"].update({"model.n": 5}), "layers"),
    "deep": (
        lambda a, d: d["run"]["meta"]["config"].update({"model.blocks": [10**9, 0, 0, 0]}),
        "1000000000 layers",
    ),
    "wide": (lambda a, d: d["run"]["meta"]["config"].update({"model.n": 10**12}), "layers"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_somebody_changed_is_refused(
    name: str, file: Path, tmp_path: Path, refused: Any
) -> None:
    change, part = BROKEN[name]
    message = refused(rewritten(file, tmp_path / "broken.safetensors", change))
    assert "broken.safetensors" in message and part in message, message


@pytest.mark.parametrize(
    "origin",
    [
        *("a network", {"verb": "steal", "data": "digits"}, {"verb": "pretrain"}),
        *(
            {"verb": "pretrain", "data": "a, b", "settings": it}
            for it in ([], {"```\n\n# Mine": 1})
        ),
        {"verb": "finetune", "data": "a, b", "init_step": 3, "origin": {"verb": "pretrain"}},
    ],
)
def test_a_start_that_no_run_records_is_refused(origin: Any, tmp_path: Path, refused: Any) -> None:
    save_run(tmp_path / "run", *THREE_LAYERS, task="classification", recorded={"init_step": 7})
    file = export(tmp_path / "run", tmp_path / "it.safetensors")
    broken = rewritten(
        file, tmp_path / "broken.safetensors", lambda a, d: d["run"]["meta"].update(origin=origin)
    )
    assert "metadata are broken" in refused(broken)


def test_what_is_no_such_file_is_refused(file: Path, tmp_path: Path, refused: Any) -> None:
    content = file.read_bytes()
    assert "there is no file" in refused(tmp_path / "nothing.safetensors")
    assert "there is no file" in refused(tmp_path)
    path = tmp_path / "bad.safetensors"
    for length in (0, 4, 8, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        assert str(path) in refused(path)
    path.write_bytes(b"\x80\x04\x95" + content)  # as a pickle begins
    assert "give one that `symskip export --format safetensors` wrote" in refused(path)
    safetensors.numpy.save_file({"x": np.zeros(3, np.float32)}, path)
    assert "was not written by `symskip export`" in refused(path)
    safetensors.numpy.save_file({"x": np.zeros(3, np.float32)}, path, {"symskip_jax": "{"})
    assert "metadata are broken" in refused(path)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ((), ["one folder"]),
        (("{run}", "--workdir={run}"), ["one folder"]),
        (("gs://bucket/run",), ["not a folder on this machine"]),
        (("{run}/nothing",), ["no checkpoint in", "nothing"]),
        (("{run}", "--step=8"), ["no checkpoint of step 8", "[7]"]),
        (("{run}", "--step=best"), ["has been measured"]),
        (("{run}", "--part=classifier"), ["--part classifier", "autoencoder or encoder"]),
        (("{run}", "--part=decoder"), ["decoder", "segmenter"]),
        (("{run}", "--out={run}/checkpoints"), ["is there already"]),
        (("{run}", "--out={run}/metrics.jsonl/x"), ["--out", "cannot be written"]),
    ],
)
def test_wrong_words_are_answered_in_one_line(
    words: tuple[str, ...], parts: list[str], run: Path, tmp_path: Path, refused: Any
) -> None:
    copied = tmp_path / "run"
    shutil.copytree(run, copied)
    (copied / "metrics.jsonl").write_text("")
    message = refused("export", "--format=safetensors", *(it.format(run=copied) for it in words))
    assert all(part in message for part in parts), message
    assert not [*copied.rglob("*.safetensors")]


@pytest.mark.parametrize(
    "field",
    [
        "model.skip_gate='learned'",
        "model.skip_placement='after'",
        "model.bottleneck='channel_wise'",
        "model.name='wide_resnet'",
    ],
)
def test_networks_that_torchs_names_cannot_say_are_refused(
    field: str, tmp_path: Path, refused: Any
) -> None:
    is_wide = "wide_resnet" in field  # whose encoder is no plain one either
    network = ("--config.model.depth=10", "--config.model.widen=1") if is_wide else THREE_LAYERS
    save_run(tmp_path, *network, f"--config.{field}".replace("'", ""))
    for form in ("safetensors", "onnx"):
        message = refused("export", tmp_path, f"--format={form}")
        assert field in message and "--format stablehlo" in message
        assert ("--part encoder" in message) != is_wide
    if is_wide:
        assert field in refused("export", tmp_path, "--format=onnx", "--part=encoder")


def test_without_onnx_it_says_how_to_get_it(
    run: Path, refused: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "symskip_jax.interop.onnx_graph", None)
    assert "-e '.[onnx]'" in refused("export", run, "--format=onnx")
