"""`symskip import`: a run made of a file is the run it was exported from; what is no such file."""

import json
import re
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
from exported import THREE_LAYERS, save_run
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


def symskip(*words: object) -> int:
    return cli.main([*map(str, words)])


def export(workdir: Path, out: Path, *more: str) -> Path:
    assert symskip("export", workdir, "--format", "safetensors", "--out", out, *more) == 0
    return out


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """The folder of an auto-encoder of coloured 7x7 images."""
    workdir = tmp_path_factory.mktemp("runs") / "theirs"
    data = command.write_images(workdir.parent / "images.npz")
    save_run(workdir, *command.TINY[1:], *THREE_LAYERS, f"--config.data.name={data}")
    return workdir


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


ONE_EPOCH = (
    *("--config.finetune.epochs=1", "--config.finetune.learning_rate=1e-30"),
    *("--config.finetune.milestones=()", "--config.finetune.head_epochs=0"),
    *THREE_LAYERS,
)


def how_learnt(file: Path) -> str:
    """Returns the first sentence of what a card says of the data."""
    card = file.with_name(f"{file.name}.md").read_text()
    (found,) = re.findall(r"^## Data\n\n(.*) Licence of the data: unknown\.$", card, re.MULTILINE)
    return found


def sections(file: Path) -> dict[str, str]:
    """Returns what a card says, by heading."""
    card = file.with_name(f"{file.name}.md").read_text()
    _, *found = re.split(r"^## (.*)\n", card, flags=re.MULTILINE)
    return {k: v.strip() for k, v in zip(found[::2], found[1::2], strict=True)}


def settings(text: str) -> dict[str, Any]:
    """Returns the settings in a section of a card."""
    (block,) = re.findall(r"```text\n(.*?)\n```", text, re.DOTALL)
    return {k: json.loads(v) for k, v in (line.split(" = ") for line in block.splitlines())}


PRETRAINING = {"verb": "pretrain", "data": "a, b", "settings": {"pretrain.epochs": 3}}


@pytest.mark.parametrize(
    ("part", "task", "learnt", "origin"),
    [
        (
            *("autoencoder", None),
            "Trained on `folder:photos, all`.",
            "a pre-training on `folder:photos, all`",
        ),
        (
            *("encoder", "classification"),
            "Fine-tuned from a pre-training on `a, b`, step 5, with 24 labels of `digits, train`.",
            "a fine-tuning on `digits, train`",
        ),
    ],
    ids=["autoencoder", "encoder"],
)
def test_finetune_goes_on_from_it(
    run: Path, tmp_path: Path, part: str, task: str | None, learnt: str, origin: str
) -> None:
    """One epoch without a rate: the encoder is still the exported one. Cards say where from."""
    others = (
        *("--config.data.pretrain_name=folder:photos", "--config.data.pretrain_split=all"),
        *("--config.pretrain.epochs=2", "--config.pretrain.milestones=()"),
        *("--config.finetune.epochs=5", "--config.corruption.sigma=7.0"),
    )
    recorded = {"batch_norm_groups": 2, "input": "streamed"}
    if task is not None:
        recorded |= {"init_step": 5, "origin": PRETRAINING}
    fields = (*command.TINY[1:], *THREE_LAYERS, *others)
    save_run(tmp_path / "theirs", *fields, task=task, recorded=recorded)
    file = export(tmp_path / "theirs", tmp_path / "file.safetensors", "--part", part)
    assert how_learnt(file) == learnt
    theirs = settings(sections(file)["Configuration"])
    assert symskip("import", file, "--workdir", tmp_path / "init") == 0
    data = f"npz:{run.parent / 'images.npz'}"
    words = (*ONE_EPOCH, f"--init={tmp_path / 'init'}")
    assert symskip(*command.finetune(tmp_path / "out", data, *words)) == 0
    kernels = [
        load_variables(it).state["params"]["encoder"]["2"]["conv"]["kernel"]
        for it in (tmp_path / "theirs", tmp_path / "out")
    ]
    np.testing.assert_array_equal(*kernels)
    file = export(tmp_path / "out", tmp_path / "out.safetensors", "--part", "encoder")
    said = f"Fine-tuned from {origin}, step 7, with 24 labels of `{data}, train`."
    assert how_learnt(file) == said
    card = sections(file)
    ours = settings(card["Configuration"])
    assert ours["finetune.epochs"] == 1 and not any(it.startswith("pretrain.") for it in ours)
    # As the card of what it started from has them.
    assert theirs["corruption.sigma"] == 7 and theirs["batch_norm_groups"] == 2
    before = [*card][[*card].index("Configuration") + 1 :]
    assert card[before[0]].startswith(learnt) and settings(card[before[0]]) == theirs
    if task is None:
        assert before == ["Pre-training"] and theirs["pretrain.epochs"] == 2
    else:
        assert before == ["Earlier fine-tuning", "Pre-training"] and theirs["finetune.epochs"] == 5
        assert card["Pre-training"].startswith("Trained on `a, b`.")
        assert settings(card["Pre-training"]) == PRETRAINING["settings"]
    assert symskip("import", file, "--workdir", tmp_path / "ours") == 0
    again = sections(export(tmp_path / "ours", tmp_path / "ours.safetensors"))
    for heading in ("Data", "Measured by the run", "Configuration", *before):
        assert again[heading] == card[heading]


CORRUPTED = ("--config.finetune.corruption_probability=0.5",)


@pytest.mark.parametrize(
    ("task", "fields", "there", "absent"),
    [
        (
            *(None, CORRUPTED),
            ["pretrain.epochs", "corruption.sigma", "model.skip", "data.pretrain_name"],
            ["finetune.epochs", "data.num_labels"],
        ),
        (
            *("classification", ("--config.finetune.corruption_probability=0.0",)),
            ["finetune.epochs", "data.num_labels", "model.dropout"],
            ["pretrain.epochs", "corruption.sigma", "model.skip", "data.pretrain_name"],
        ),
        (
            *("segmentation", CORRUPTED),
            ["finetune.epochs", "corruption.sigma", "model.skip"],
            ["pretrain.epochs", "data.pretrain_name"],
        ),
    ],
    ids=["pretrain", "classes", "masks"],
)
def test_a_card_lists_no_setting_that_training_did_not_read(
    task: str | None, fields: tuple[str, ...], there: list[str], absent: list[str], tmp_path: Path
) -> None:
    save_run(tmp_path, *THREE_LAYERS, *fields, task=task)
    found = settings(sections(export(tmp_path, tmp_path / "it.safetensors"))["Configuration"])
    always = {"seed", "model.n", "data.crop"}
    assert {*there, *always} <= {*found}
    assert not {*absent, "run.eval_every", "probe.grid", "data.data_dir"} & {*found}


def test_figures_are_carried(tmp_path: Path) -> None:
    save_run(tmp_path / "a", *THREE_LAYERS)
    figures = {"loss": 0.125, "psnr": float("inf"), "ssim": float("nan"), "count": 3}
    record = {"step": 6, "epoch": 1.5, "split": "test", **figures, "seconds": 4321.5}
    (tmp_path / "a" / "metrics.jsonl").write_text(json.dumps(record) + "\n")
    file = export(tmp_path / "a", tmp_path / "a.safetensors")
    said = sections(file)["Measured by the run"]
    assert "after step 6; the file is of step 7" in said and "4321" not in said
    for row in ("epoch | 1.5", "loss | 0.125", "psnr | inf", "ssim | nan", "count | 3"):
        assert f"| {row} |" in said
    assert symskip("import", file, "--workdir", tmp_path / "b") == 0
    again = export(tmp_path / "b", tmp_path / "b.safetensors")
    assert again.read_bytes() == file.read_bytes()
    assert sections(again)["Measured by the run"] == said


def test_a_card_tells_what_was_not_measured_from_what_was_not_recorded(
    run: Path, tmp_path: Path
) -> None:
    unmeasured = shutil.copytree(run, tmp_path / "run")
    (unmeasured / "metrics.jsonl").write_text("")
    file = export(unmeasured, tmp_path / "0.safetensors")
    older = rewritten(
        file, tmp_path / "older.safetensors", lambda a, d: d["run"]["meta"].pop("figures")
    )
    for number, (path, words) in enumerate(
        [(file, "Nothing was measured"), (older, "was not recorded")], 1
    ):
        workdir = tmp_path / f"imported_{number}"
        assert symskip("import", path, "--workdir", workdir) == 0
        out = export(workdir, tmp_path / f"{number}.safetensors")
        assert words in sections(out)["Measured by the run"]


def test_a_card_says_what_was_trained_from_scratch(tmp_path: Path) -> None:
    data = command.write_images(tmp_path / "images.npz", train=24)
    every = "--config.data.num_labels=0"
    assert symskip(*command.finetune(tmp_path / "run", data, *ONE_EPOCH, every)) == 0
    file = export(tmp_path / "run", tmp_path / "file.safetensors")
    assert how_learnt(file) == f"Trained from scratch with 24 labels of `{data}, train`."


@pytest.mark.parametrize(
    ("task", "num_labels", "recorded", "said", "before"),
    [
        (
            *("classification", 40, {}),
            "Trained with 40 labels of `digits, train`, from a start that was not recorded.",
            "Whether there was one was not recorded.",
        ),
        (
            *("multi_label", 0, {"init_step": 1600}),
            "Fine-tuned from a run whose data was not recorded, step 1,600, "
            "with all labels of `digits, train`.",
            "The data and the settings of the run that it started from were not recorded.",
        ),
        (
            *("classification", 1, {"init_step": None}),
            "Trained from scratch with 1 label of `digits, train`.",
            None,
        ),
        (
            *("segmentation", 0),
            {"init_step": 7, "num_labels": 1464, "origin": {"verb": "pretrain", "data": "a, b"}},
            "Fine-tuned from a pre-training on `a, b`, step 7, "
            "with 1,464 labels of `digits, train`.",
            "On `a, b`; its settings were not recorded.",
        ),
    ],
    ids=["nothing", "step", "scratch", "all"],
)
def test_a_card_says_what_a_run_recorded_of_its_start(
    task: str,
    num_labels: int,
    recorded: dict[str, Any],
    said: str,
    before: str | None,
    tmp_path: Path,
) -> None:
    labels = f"--config.data.num_labels={num_labels}"
    save_run(tmp_path, *THREE_LAYERS, labels, task=task, recorded=recorded)
    file = export(tmp_path, tmp_path / "it.safetensors")
    assert how_learnt(file) == said
    assert sections(file).get("Pre-training") == before


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


def rewritten(file: Path, out: Path, change: Callable[[dict, dict], None]) -> Path:
    """Writes a file whose tensors and document somebody changed."""
    with safe_open(file, framework="numpy") as tensors:
        document = json.loads(tensors.metadata()["symskip_jax"])
    arrays = safetensors.numpy.load_file(file)
    change(arrays, document)
    safetensors.numpy.save_file(arrays, out, {"symskip_jax": json.dumps(document)})
    return out


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
        *({**PRETRAINING, "settings": it} for it in ([], {"```\n\n# Mine": 1})),
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
