"""What a configuration may say about pre-training, and runs of what goes beyond the paper."""

import json
import shutil

import command
import pytest
import tiny
from data_helpers import user_error

from symskip_jax import cli
from symskip_jax.config import apply_overrides, base_config, load_config
from symskip_jax.experiments.checks import check_config
from symskip_jax.experiments.objective import check_objective, check_plain, make_discriminator
from symskip_jax.experiments.setup import make_corruption
from symskip_jax.training.checkpoints import load_variables
from symskip_jax.training.records import read_metrics
from symskip_jax.transforms import Normalization

NORMALIZATION = Normalization((0.0,), (1.0,))


def config_with(*overrides):
    config = apply_overrides(base_config(), [f"--config.{override}" for override in overrides])
    check_config(config)
    return config


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["model.bottleneck=channel_wise"], ["model.bottleneck=channel_wise", "model.skip=none"]),
        (["model.skip=none", "model.skip_placement=after"], ["skip_placement=after", "symmetric"]),
        (["model.skip=none", "model.skip_gate=learned"], ["skip_gate=learned", "skip_gate=none"]),
        (["model.skip=none", "pretrain.skip_drop=0.5"], ["skip_drop=0.5", "skip_drop=0.0"]),
        (["model.skip=none", "pretrain.skip_fade=(0.5, 2)"], ["skip_fade=[0.5, 2]", "symmetric"]),
        (["pretrain.loss=masked"], ["pretrain.loss=masked", "corruption.kind=gaussian", "regions"]),
        (
            ["pretrain.loss=masked", "corruption.kind=none"],
            ["pretrain.loss=masked", "corruption.kind=none", "blocks, center, regions"],
        ),
    ],
)
def test_what_does_not_go_together_is_refused(overrides, parts):
    message = user_error(lambda: check_objective(config_with(*overrides)))
    assert all(part in message for part in parts), message


@pytest.mark.parametrize(
    "overrides",
    [
        ["corruption.sigma_max=20"],
        ["corruption.sigma_max=30"],
        ["corruption.sigma_max=50", "corruption.kind=blocks"],
    ],
)
def test_a_range_of_noise_that_is_none_is_refused(overrides):
    message = user_error(lambda: make_corruption(config_with(*overrides), NORMALIZATION))
    assert "corruption.sigma_max" in message and "corruption.sigma=30.0" in message


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("pretrain.adversarial_weight=1.0", "from 0 to below 1"),
        ("pretrain.skip_drop=1.5", "from 0 to 1"),
        ("pretrain.skip_fade=(2, 1)", "increasing"),
        ("pretrain.skip_fade=(2,)", "two epochs"),
    ],
)
def test_numbers_out_of_range_are_refused(override, part):
    message = user_error(lambda: config_with(override))
    assert override.partition("=")[0] in message and part in message


@pytest.mark.parametrize(
    "override",
    ["model.skip_gate=learned", "pretrain.skip_drop=0.5", "corruption.kind=regions"],
)
def test_what_the_peers_cannot_do_is_not_compared(override):
    check_plain(base_config())
    message = user_error(lambda: check_plain(config_with(override)))
    assert override in message and "cannot be compared" in message


@pytest.mark.parametrize(("argument", "kind"), [("", "regions"), (":center", "center")])
def test_context_encoder_on_imagenet(argument, kind):
    config = load_config(f"imagenet_context_encoder{argument}")
    check_config(config)
    check_objective(config)
    assert config.corruption.kind == kind
    assert make_corruption(config, NORMALIZATION).kind == kind
    assert len(make_discriminator(config).layers) == 6


# Runs.

SHORT = (
    "--config.pretrain.epochs=2",
    "--config.finetune.epochs=1",
    "--config.finetune.head_epochs=0",
    "--config.run.eval_every=2",
)
MASKED = ("--config.corruption.kind=regions", "--config.pretrain.loss=masked")
CONTEXT = (
    *MASKED,
    "--config.model.skip=none",
    "--config.model.bottleneck=channel_wise",
    "--config.model.width_multiplier=0.5",
    "--config.pretrain.adversarial_weight=0.001",
)
SKIPS = (
    *MASKED,
    "--config.model.blocks=(2, 2, 0, 0)",
    "--config.model.skip_gate=learned",
    "--config.model.skip_placement=after",
    "--config.pretrain.skip_drop=0.5",
    "--config.pretrain.skip_fade=(0.5, 2.5)",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    return command.write_images(tmp_path_factory.mktemp("data") / "images.npz")


def succeed(*arguments):
    assert cli.main([str(argument) for argument in arguments]) == 0


def test_a_context_encoder_is_trained_and_fine_tuned(data, tmp_path, capfd):
    pretrained, finetuned = tmp_path / "pretrained", tmp_path / "finetuned"
    succeed(*command.pretrain(pretrained, data, *SHORT, *CONTEXT))
    train = [it for it in read_metrics(pretrained) if it["split"] == "train"]
    assert {"reconstruction_loss", "adversarial_loss", "discriminator_loss", "mse"} < set(train[-1])
    assert "discriminator" in load_variables(pretrained).state["params"]
    # Its encoder is any other's.
    succeed(*command.finetune(finetuned, data, *SHORT, *CONTEXT, f"--init={pretrained}"))

    capfd.readouterr()
    crop = "--config.data.crop=(5, 5)"
    for verb in ("evaluate", "probe", "visualize"):
        assert cli.main([verb, f"--workdir={pretrained}", crop]) == cli.EXIT_WRONG_INPUT
        assert "data.crop=(5, 5)" in capfd.readouterr().err
    # It is the layer between the halves that has a size, and the classifier has none.
    succeed("evaluate", f"--workdir={finetuned}", crop)


def test_a_context_encoder_goes_on_bit_by_bit(data, tmp_path, capfd):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    succeed(*command.pretrain(whole, data, *SHORT, *CONTEXT))
    # As if it had been stopped before its last save.
    shutil.copytree(whole, stopped)
    shutil.rmtree(stopped / "checkpoints" / "12")
    capfd.readouterr()
    succeed(*command.pretrain(stopped, data, *SHORT, *CONTEXT))
    assert "resumed after step 9 of 12" in capfd.readouterr().err
    ours, theirs = (load_variables(workdir).state for workdir in (stopped, whole))
    assert ours["step"] == 12 and "discriminator" in ours["params"]
    tiny.assert_same(ours, theirs)


def test_a_run_with_fading_skips_is_measured_again_with_the_strength_reached(data, tmp_path, capfd):
    workdir = tmp_path / "pretrained"
    succeed(*command.pretrain(workdir, data, *SHORT, *SKIPS))
    (test,) = [it for it in read_metrics(workdir) if it["split"] == "test"]
    # Six steps an epoch; after the second epoch a quarter is left.
    assert load_variables(workdir).meta["skip_fade_steps"] == [3, 15]
    succeed("evaluate", f"--workdir={workdir}")
    again = json.loads((workdir / "evaluation.json").read_text())
    assert again["psnr"] == pytest.approx(test["psnr"], rel=1e-6)
    assert again["loss"] == pytest.approx(test["loss"], rel=1e-6)

    capfd.readouterr()
    other = "--config.model.skip_placement=before"
    assert cli.main(["evaluate", f"--workdir={workdir}", other]) == cli.EXIT_WRONG_INPUT
    assert "another network" in capfd.readouterr().err
