"""Wide ResNet and recipes beyond the paper's, by the command itself."""

import json
import math
import shutil
from pathlib import Path

import command
import jax
import numpy as np
import pytest
import tiny

from symskip_jax import cli
from symskip_jax.training.averaging import averaged_variables
from symskip_jax.training.checkpoints import load_variables
from symskip_jax.training.records import read_metrics

WIDE = (
    "--config.model.name=wide_resnet",
    "--config.model.depth=10",
    "--config.model.widen=1",
    "--config.model.width_multiplier=0.25",
    "--config.model.init=he",
)
PRETRAIN = (
    "--config.run.checkpoint_every=1",
    "--config.pretrain.epochs=2",
    "--config.pretrain.optimizer=sgd",
    "--config.pretrain.learning_rate=0.02",
    "--config.pretrain.weight_decay=5e-4",
    "--config.pretrain.warmup_epochs=0.5",
    "--config.pretrain.schedule=cosine",
    "--config.pretrain.ema_decay=0.9",
    "--config.pretrain.plateau_patience=3",
)
# The encoder stays as it comes throughout.
FINETUNE = (
    "--config.run.checkpoint_every=1",
    "--config.finetune.epochs=2",
    "--config.finetune.head_epochs=2",
    "--config.finetune.milestones=(1,)",
    "--config.finetune.optimizer=adamw",
    "--config.finetune.weight_decay=0.1",
    "--config.finetune.warmup_epochs=1",
    "--config.finetune.ema_decay=0.5",
    "--config.finetune.label_smoothing=0.1",
    "--config.finetune.augmentation=strong",
)


def succeed(*arguments: object) -> None:
    assert cli.main([str(argument) for argument in arguments]) == 0


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    return command.write_images(tmp_path_factory.mktemp("data") / "images.npz")


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory, data) -> Path:
    workdir = tmp_path_factory.mktemp("runs") / "pretrained"
    succeed(*command.pretrain(workdir, data, *PRETRAIN))
    return workdir


def last_test(workdir: Path) -> dict:
    return [record for record in read_metrics(workdir) if record["split"] == "test"][-1]


def test_the_rate_rises_in_a_line_and_falls_as_a_cosine(pretrained):
    train = [r for r in read_metrics(pretrained) if r["split"] == "train"]
    rates = {r["step"] - 2: r["learning_rate"] for r in train}  # of the first of two steps
    assert rates[0] == 0 and rates[2] == pytest.approx(0.02 * 2 / 3)
    for step in (4, 6, 8, 10):
        assert rates[step] == pytest.approx(0.01 * (1 + math.cos(math.pi * (step - 3) / 9)))


def test_a_run_with_an_average_goes_on_as_if_it_had_not_been_cut_off(pretrained, tmp_path, data):
    workdir = tmp_path / "again"
    shutil.copytree(pretrained, workdir)
    shutil.rmtree(workdir / "checkpoints" / "12")
    succeed(*command.pretrain(workdir, data, *PRETRAIN))
    tiny.assert_same(load_variables(workdir).state, load_variables(pretrained).state)


def test_evaluate_measures_the_average_as_the_run_did(pretrained):
    succeed("evaluate", f"--workdir={pretrained}")
    figures = json.loads((pretrained / "evaluation.json").read_text())
    for name in ("psnr", "loss"):
        assert figures[name] == pytest.approx(last_test(pretrained)[name], rel=1e-5)


def test_finetuning_takes_the_averaged_encoder_and_its_statistics(pretrained, tmp_path, data):
    workdir = tmp_path / "finetuned"
    succeed(*command.finetune(workdir, data, *FINETUNE, f"--init={pretrained}"))
    before, after = (load_variables(it).state for it in (pretrained, workdir))
    for tree in ("params", "batch_stats"):
        average = averaged_variables(before)[tree]["encoder"]
        tiny.assert_same(after[tree]["encoder"], average)
        moved = jax.tree.map(lambda a, b: bool((a != b).any()), average, before[tree]["encoder"])
        assert all(jax.tree.leaves(moved))
    head = after["params"]["head"]["classes"]
    assert (averaged_variables(after)["params"]["head"]["classes"]["bias"] != head["bias"]).all()
    succeed("evaluate", f"--workdir={workdir}")
    figures = json.loads((workdir / "evaluation.json").read_text())
    assert figures["loss"] == pytest.approx(last_test(workdir)["loss"], rel=1e-5)
    assert np.isfinite(figures["loss"])


def test_a_wide_resnet_is_pretrained_finetuned_and_measured(tmp_path, data):
    first, second = tmp_path / "pretrained", tmp_path / "finetuned"
    epoch = ("--config.pretrain.epochs=1", "--config.finetune.epochs=1")
    succeed(*command.pretrain(first, data, *WIDE, *epoch))
    no_head = "--config.finetune.head_epochs=0"
    succeed(*command.finetune(second, data, *WIDE, *epoch, no_head, f"--init={first}"))
    succeed("evaluate", f"--workdir={second}")
    figures = json.loads((second / "evaluation.json").read_text())
    assert figures["loss"] == pytest.approx(last_test(second)["loss"], rel=1e-5)
    assert figures["accuracy"] == last_test(second)["accuracy"]
