"""`symskip bench step` and `train`, on a problem of milliseconds: what they tell, not how fast."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import command
import numpy as np
import pytest

from symskip_jax import cli
from symskip_jax.bench import step
from symskip_jax.bench.problem import Problem
from symskip_jax.extras import how_to_install
from symskip_jax.models import network_1
from symskip_jax.models.flops import step_flops

HAS_TORCH = importlib.util.find_spec("torch") is not None
PEERS = ("flax", "torch")
TINY = (
    "--config=cifar10",
    "--config.model.blocks=(1, 1, 1, 0)",
    "--config.model.n=4",
    "--config.data.crop=(7, 7)",
    "--config.pretrain.batch_size=4",
    "--config.run.steps_per_dispatch=2",
)
STEP = ("bench", "step", *TINY, "--rounds=1", "--steps=2", "--warmup=1", "--images=8")


@pytest.fixture(scope="module")
def stepped(tmp_path_factory) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    out = tmp_path_factory.mktemp("results") / "folder" / "step.json"
    result = command.succeed(*STEP, "--peers", *PEERS, f"--out={out}")
    assert str(out.parent.parent) not in out.read_text()
    return result, json.loads(out.read_text())


def test_a_step_is_timed_beside_its_peers(stepped):
    result, results = stepped
    present = {"ours", "flax", "torch"} if HAS_TORCH else {"ours", "flax"}
    assert set(results["contenders"]) == present
    assert set(results["left_out"]) == {"ours", *PEERS} - present
    (measured,) = results["rounds"]
    for name in present:
        assert measured["step_s"][name] > 0
        assert results["contenders"][name]["first_step_s"] > 0
        assert results["contenders"][name]["peak_bytes"] > 2**20
        assert f"\n| {name} | {1000 * measured['step_s'][name]:.1f} |" in result.stdout
    summary = results["summary"]
    for name in present - {"ours"}:
        ratio = measured["step_s"][name] / measured["step_s"]["ours"]
        assert summary["times_as_fast_as"][name]["median"] == ratio
    ours = summary["contenders"]["ours"]
    assert ours["flop_per_s"] == results["problem"]["flops_per_step"] / ours["step_s"]
    assert summary["matrix_flop_per_s"] > 0 and summary["moved_bytes_per_s"] > 0
    assert summary["transform_share"]["median"] > 0


def test_all_compute_the_same_before_they_are_timed(stepped):
    checked = stepped[1]["check"]
    assert checked["figures"]["ours"]["loss_after"] < checked["figures"]["ours"]["loss"]
    for differences in checked["relative_differences"].values():
        assert set(differences) == {"loss", "loss_after", "gradient_norm"}
        assert max(differences.values()) < 1e-5


def test_the_command_that_the_results_name_is_one(stepped):
    setting = stepped[1]["setting"]
    for word in (*TINY[1:], "--peers flax torch", "--rounds 1", "--steps 2", "--images 8"):
        assert word in setting["command"].replace("'", "")
    assert setting["versions"]["jax"] and setting["cores"] >= 1 and setting["cpu"]


@pytest.mark.parametrize("peer", PEERS)
def test_a_peer_that_computes_something_else_ends_it_in_a_line(
    peer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    if peer == "torch" and not HAS_TORCH:
        pytest.skip("torch is missing: install the extra `interop`")
    start = step.Worker

    def start_with_other_skips(name: str, folder: Path, platform: str | None = None):
        if name != peer:
            return start(name, folder, platform)
        problem = Problem.load(folder)
        problem.config["model.skip"] = "none"
        problem.save(tmp_path)
        return start(name, tmp_path, platform)

    monkeypatch.setattr(step, "Worker", start_with_other_skips)
    assert cli.main([*STEP, "--peers", peer]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    *progress, last = captured.err.splitlines()
    assert [it.partition(": up in ")[0] for it in progress] == ["ours", peer]
    assert last.startswith(f"symskip: {peer} computes something else: its ")


def test_a_peer_that_is_not_installed_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(name='torch')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    out = tmp_path / "step.json"
    assert cli.main([*STEP, "--peers", "torch", f"--out={out}"]) == 0
    line = f"torch is missing: {how_to_install('interop')}"
    assert f"torch is left out: {line}\n" in capsys.readouterr().err
    results = json.loads(out.read_text())
    assert results["left_out"] == {"torch": line}
    assert list(results["contenders"]) == ["ours"]


def test_a_problem_is_read_as_it_was_written(tmp_path: Path):
    problem = Problem(
        config={"pretrain.batch_size": 1, "data.crop": [2, 3], "model.dtype": "bfloat16"},
        layers=[(3, 1, 4)],
        mean=(1.5,),
        std=(2.5,),
        images=np.zeros((1, 4, 4, 1), np.uint8),
        corrupted=np.ones((1, 2, 3, 1), np.float32),
        clean=np.zeros((1, 2, 3, 1), np.float32),
        params={"encoder": {"0": {"conv": {"kernel": np.ones((3, 3, 1, 4), np.float32)}}}},
        batch_stats={"encoder": {"0": {"bn": {"mean": np.ones(4, np.float32)}}}},
    )
    problem.save(tmp_path)
    again = Problem.load(tmp_path)
    assert again.layers == problem.layers and again.config == problem.config
    assert again.crop == (2, 3) and again.is_bfloat16
    np.testing.assert_equal(again.params, problem.params)
    np.testing.assert_equal(again.batch_stats, problem.batch_stats)
    for name in ("images", "corrupted", "clean"):
        np.testing.assert_array_equal(getattr(again, name), getattr(problem, name))


def test_an_epoch_is_timed_beside_its_steps(tmp_path: Path):
    out = tmp_path / "train.json"
    result = command.succeed("bench", "train", *TINY, "--rounds=1", "--images=24", f"--out={out}")
    results = json.loads(out.read_text())
    (measured,) = results["rounds"]
    assert results["problem"]["steps_per_epoch"] == 6
    assert measured["epoch_s"] > measured["dispatches_s"] > 0
    assert measured["steps_s"] > 0 and measured["evaluation_s"] > 0
    ratio = measured["epoch_s"] / measured["steps_s"]
    assert results["summary"]["epoch_over_steps"]["median"] == ratio
    assert f"| {ratio:.3f} |" in result.stdout
    assert str(tmp_path) not in out.read_text()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("step", "--rounds=0"), "argument --rounds: '0' must be a whole number above 0"),
        (("step", "--peers", "tf"), "argument --peers: invalid choice: 'tf'"),
        (("step", "--image_size", "6", "9"), "does not fit --image_size 6 9; choose at least 7 7"),
        (("step", "--images=3"), "--images 3 is less than config key pretrain.batch_size=4"),
        (("step", "--config.pretrain.accumulate=2"), "pretrain.accumulate=2 cannot be compared"),
        (("step", "--config.pretrain.optimizer=sgd"), "optimizer=sgd cannot be compared"),
        (("step", "--config.model.name=wide_resnet"), "model.name=wide_resnet cannot be compared"),
        (("train", "--config.model.n=0"), "config key model.n=0 must be at least 1"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    arguments: tuple[str, ...], expected: str, capsys: pytest.CaptureFixture[str]
):
    action, *rest = arguments
    assert cli.main(["bench", action, *TINY, *rest]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("symskip: ") and captured.err.count("\n") == 1
    assert expected in captured.err


def test_results_that_cannot_be_written_are_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "step.json"
    assert cli.main([*STEP, "--peers", f"--out={out}"]) == 2
    assert f"--out {out} cannot be written" in capsys.readouterr().err


def test_a_step_is_taken_apart(tmp_path):
    out = tmp_path / "stages.json"
    # The first two convolutions are alike, but for the gradient of the image, which nobody needs.
    network = ("--config.model.blocks=(3, 1, 0, 0)", "--config.model.n=3")
    result = command.succeed("bench", "stages", *TINY, *network, "--rounds=1", f"--out={out}")
    results = json.loads(out.read_text())
    spec = network_1((3, 1, 0, 0), 3)
    assert results["limits"]["flops"] == step_flops(spec, 3, (7, 7), 4)
    assert all(stage["seconds"] > 0 for stage in results["stages"])
    parts = {stage["part"] for stage in results["stages"]}
    assert {"output", "input gradient", "kernel gradient", "both ways", "Adam", "step"} <= parts
    assert "what these do not add up to" in result.stdout
