"""The card beside an exported file: what was learnt from what, with which settings and figures."""

import json
import shutil
from pathlib import Path
from typing import Any

import command
import numpy as np
import pytest
from export_files import export, how_learnt, rewritten, sections, settings, symskip
from exported import THREE_LAYERS, save_colour_run, save_run

from symskip_jax.training.checkpoints import load_variables

ONE_EPOCH = (
    *("--config.finetune.epochs=1", "--config.finetune.learning_rate=1e-30"),
    *("--config.finetune.milestones=()", "--config.finetune.head_epochs=0"),
    *THREE_LAYERS,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """The folder of an auto-encoder of coloured 7x7 images."""
    return save_colour_run(tmp_path_factory.mktemp("runs") / "theirs")


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
