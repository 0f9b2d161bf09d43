"""Runs of the command over replicas, with a sharded optimiser and BatchNorm over few devices."""

import shutil

import command
import jax
import numpy as np
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
    "--config.finetune.epochs=2",
    "--config.finetune.head_epochs=1",
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
    spread = pretrained(tmp_path / "spread", data, *DERIVED, *SPREAD)
    plain = pretrained(tmp_path / "plain", data, "--config.pretrain.accumulate=2")
    assert_close(spread, plain)
    # It stopped after its second step, and other devices take it from there.
    shutil.rmtree(tmp_path / "spread" / "checkpoints" / "3")
    moved = ("--config.run.replicas=4", "--config.run.shard_optimizer=True")
    capfd.readouterr()
    resumed = pretrained(tmp_path / "spread", data, *DERIVED, *moved)
    assert "resumed after step 2 of 3" in capfd.readouterr().err
    assert_close(resumed, spread)

    # Fine-tuning starts from the average, and lies as it is told.
    start = plain["opt_state"]["average"]["params"]["encoder"]
    ends = []
    for name, more in (("spread", SPREAD), ("plain", ())):
        workdir = tmp_path / f"{name}-finetuned"
        more = (f"--init={tmp_path / 'plain'}", *more)
        run(command.finetune(workdir, data, *COMMON, *more))
        first = load_variables(workdir, 3).state["params"]["encoder"]  # frozen so far
        jax.tree.map(np.testing.assert_array_equal, first, start)
        ends.append(load_variables(workdir).state)
    moved = [
        np.abs(a - b).max()
        for a, b in zip(*map(jax.tree.leaves, (ends[0]["params"]["encoder"], start)), strict=True)
    ]
    assert max(moved) > 0
    assert_close(*ends)
