"""Runs of the command over replicas, with a sharded optimiser and BatchNorm over few devices."""

import shutil

import command
import pytest
import tiny

from symskip_jax import cli
from symskip_jax.training.checkpoints import load_variables

# Three steps an epoch, of two micro-batches, in which two devices have two images together.
COMMON = (
    "--config.pretrain.batch_size=16",
    "--config.pretrain.epochs=1",
    "--config.pretrain.optimizer=sgd",
    "--config.pretrain.ema_decay=0.9",
    "--config.finetune.batch_size=8",
    "--config.finetune.epochs=1",
    "--config.finetune.head_epochs=0",
    "--config.finetune.ema_decay=0.9",
    "--config.model.batch_norm_devices=2",
)
DERIVED = ("--config.pretrain.per_device_batch_size=1",)
SPREAD = ("--config.run.replicas=2", "--config.run.shard_optimizer=True")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return command.write_images(tmp_path_factory.mktemp("data") / "images.npz")


def run(arguments):
    assert cli.main([str(it) for it in arguments]) == 0


def pretrained(workdir, data, *more):
    run(command.pretrain(workdir, data, *COMMON, *more))
    return load_variables(workdir).state


def assert_close(state, expected):
    # Six devices' sums fewer or more: rounding, as in test_devices, after three steps.
    for part in ("params", "batch_stats", "opt_state"):
        tiny.assert_close(state[part], expected[part], rtol=1e-4)


def test_a_run_is_the_same_however_its_state_is_spread_and_goes_on_elsewhere(tmp_path, data, capfd):
    accumulate = "--config.pretrain.accumulate=2"
    spread = pretrained(tmp_path / "spread", data, *DERIVED, *SPREAD)
    plain = pretrained(tmp_path / "plain", data, accumulate)
    assert_close(spread, plain)
    # It stopped after its second step, and other replicas take it from there.
    shutil.rmtree(tmp_path / "spread" / "checkpoints" / "3")
    moved = ("--config.run.replicas=4", "--config.run.shard_optimizer=True")
    capfd.readouterr()
    resumed = pretrained(tmp_path / "spread", data, accumulate, *moved)
    assert "resumed after step 2 of 3" in capfd.readouterr().err
    assert_close(resumed, spread)

    # What BatchNorm sees at once is another matter.
    for other, key in (
        ("--config.model.batch_norm_devices=0", "batch_norm_groups (4 there, 1 here)"),
        ("--config.pretrain.per_device_batch_size=2", "pretrain.accumulate (2 there, 1 here)"),
    ):
        words = [*command.pretrain(tmp_path / "spread", data, *COMMON, *DERIVED, other)]
        assert cli.main([str(it) for it in words]) == cli.EXIT_WRONG_INPUT
        assert key in capfd.readouterr().err

    # Fine-tuning starts from the average, and lies as it is told.
    ends = []
    for name, more in (("spread", SPREAD), ("plain", ())):
        workdir = tmp_path / f"{name}-finetuned"
        run(command.finetune(workdir, data, *COMMON, f"--init={tmp_path / 'plain'}", *more))
        ends.append(load_variables(workdir).state)
    assert_close(*ends)
