"""Checkpoints of a state of a few hundred numbers."""

import shutil
from pathlib import Path
from typing import Any

import command
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from data_helpers import user_error

from symskip_jax import cli
from symskip_jax.config import config_from_flat, load_config
from symskip_jax.errors import NonFiniteLossError, UserError
from symskip_jax.models import AutoEncoder, Layer, Spec
from symskip_jax.training.checkpoints import Checkpoints, load_variables
from symskip_jax.training.logs import RunLog
from symskip_jax.training.loop import Plan, fit
from symskip_jax.training.mesh import data_mesh, replicated
from symskip_jax.training.profiling import Profile
from symskip_jax.training.schedules import make_optimizer
from symskip_jax.training.state import TrainState, init_state
from symskip_jax.training.stops import StopRequests
from symskip_jax.training.timing import Timing

META = {"verb": "pretrain", "config": {"seed": 1, "model.blocks": [1, 2]}, "mean": [0.1, 255.0]}


@pytest.fixture(scope="module")
def fresh() -> TrainState:
    model = AutoEncoder(Spec("tiny", (Layer(3, 1, 4), Layer(3, 2, 4)), "pool_linear"), 3)
    optimizer = make_optimizer(lambda step: 1e-3, plateau_patience=1, steps_per_epoch=2)
    return jax.jit(lambda: init_state(model, optimizer, 7, (8, 8, 3)))()


def at(state: TrainState, step: int) -> TrainState:
    """The state at another step, none of its arrays like that of another step."""
    moved = jax.tree.map(lambda a: a + step if a.dtype == jnp.float32 else a, state)
    return moved.replace(step=jnp.asarray(step, jnp.int32))


def save(folder: Path, state: TrainState, psnr_at: dict[int, float | None]) -> None:
    checkpoints = Checkpoints(folder, "psnr")
    for step, psnr in psnr_at.items():
        metrics = None if psnr is None else {"psnr": psnr, "loss": 1.0}
        checkpoints.save(at(state, step), META, metrics)
    checkpoints.close()


def restore(folder: Path, like: TrainState) -> Any:
    checkpoints = Checkpoints(folder, "psnr")
    restored = checkpoints.restore_latest(like)
    checkpoints.close()
    return restored


def assert_equal(tree: Any, expected: Any) -> None:
    ours, theirs = (ocp.tree.to_flat_dict(t, sep=".") for t in (tree, expected))
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        assert array.dtype == theirs[name].dtype
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)


def test_what_is_saved_comes_back(tmp_path, fresh):
    save(tmp_path / "checkpoints", fresh, {5: None})
    restored = restore(tmp_path / "checkpoints", at(fresh, 0))
    assert jax.tree.structure(restored.state) == jax.tree.structure(fresh)
    assert_equal(restored.state, at(fresh, 5))
    assert restored.meta == META
    # Read without a state of the same structure at hand, from the run's folder or its own.
    for folder in (tmp_path, tmp_path / "checkpoints"):
        untyped = load_variables(folder)
        assert_equal(untyped.state, at(fresh, 5))
        assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(untyped.state))
        assert untyped.meta == META
    assert {"encoder", "decoder"} == set(untyped.state["params"])


def test_there_may_be_none(tmp_path, fresh):
    assert restore(tmp_path / "checkpoints", fresh) is None
    assert "no checkpoint in" in user_error(lambda: load_variables(tmp_path))
    save(tmp_path / "checkpoints", fresh, {5: None})
    message = user_error(lambda: load_variables(tmp_path, 6))
    assert "no checkpoint of step 6" in message and "[5]" in message


def test_the_latest_two_and_the_best_are_kept(tmp_path, fresh):
    folder = tmp_path / "checkpoints"
    # A stop in the middle of an epoch saves without measuring.
    save(folder, fresh, {1: 10.0, 2: 12.0, 3: 11.0, 4: None, 5: 9.0})
    assert saved(folder) == {2, 4, 5}
    # So does a run that goes on, which knows the metrics of before.
    save(folder, fresh, {6: 11.5, 7: 8.0})
    assert saved(folder) == {2, 6, 7}
    save(folder, fresh, {8: 12.5, 9: None, 10: 1.0})
    assert saved(folder) == {8, 9, 10}
    assert int(restore(folder, fresh).state.step) == 10
    assert int(load_variables(tmp_path, 8).state["step"]) == 8


def saved(folder: Path) -> set[int]:
    return {int(path.name) for path in folder.iterdir()}


def test_processes_open_when_the_first_has_cleaned_up_and_take_its_word_for_what_is_there(
    tmp_path, fresh, monkeypatch
):
    folder = tmp_path / "checkpoints"
    save(folder, fresh, {4: 1.0, 5: 2.0})
    metrics = folder / "5" / "metrics" / "metrics"
    metrics.write_text("{")

    def told_by_first(text: str) -> str:
        shutil.rmtree(metrics.parent, ignore_errors=True)  # as process 0 did
        return "[4]" if text.startswith("[") else text

    monkeypatch.setattr("symskip_jax.training.checkpoints.is_first", lambda: False)
    monkeypatch.setattr("symskip_jax.training.checkpoints.told_by_first", told_by_first)
    assert int(restore(folder, fresh).state.step) == 4


def test_a_step_is_saved_once(tmp_path, fresh):
    checkpoints = Checkpoints(tmp_path / "checkpoints", "psnr")
    checkpoints.save(at(fresh, 5), {"first": True})
    checkpoints.save(at(fresh, 5), {"first": False})
    checkpoints.close()
    assert load_variables(tmp_path).meta == {"first": True}


def contents(folder: Path) -> dict[Path, bytes]:
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_what_is_measured_later_is_added_and_nothing_replaced(tmp_path, fresh, caplog):
    folder = tmp_path / "checkpoints"
    save(folder, fresh, {1: 10.0, 2: 9.0, 3: None})
    before = contents(folder / "3")
    checkpoints = Checkpoints(folder, "psnr")
    assert checkpoints.is_measured(1) and not checkpoints.is_measured(3)
    # What is in the way costs the measures, and not the checkpoint.
    (tmp_path / "metrics.partial").touch()
    checkpoints.measured(3, {"psnr": 12.0})
    assert "what step 3 measures could not be saved" in caplog.text
    assert contents(folder / "3") == before and not checkpoints.is_measured(3)
    (tmp_path / "metrics.partial").unlink()
    checkpoints.measured(3, {"psnr": 12.0})
    checkpoints.close()
    assert checkpoints.is_measured(3)
    after = contents(folder / "3")
    assert before.items() <= after.items() and len(after) == len(before) + 1
    # It is the best now, which the next ones are compared with, and the one before goes.
    assert saved(folder) == {2, 3}
    save(folder, fresh, {4: 11.0, 5: 8.0, 6: 7.0})
    assert saved(folder) == {3, 5, 6}


def test_what_one_device_saved_comes_back_on_eight(tmp_path, fresh):
    save(tmp_path / "checkpoints", fresh, {5: None})
    whole = replicated(data_mesh())
    like = jax.device_put(fresh, whole)
    assert len(jax.tree.leaves(fresh)[0].devices()) == 1
    restored = restore(tmp_path / "checkpoints", like)
    assert all(leaf.sharding == whole for leaf in jax.tree.leaves(restored.state))
    assert len(restored.state.step.devices()) == 8
    assert_equal(restored.state, at(fresh, 5))


def test_what_eight_devices_saved_comes_back_on_one(tmp_path):
    data = command.write_images(tmp_path / "images.npz")
    arguments = [str(it) for it in command.pretrain(tmp_path / "run", data, *SHORT)]
    assert cli.main(arguments) == 0
    before = load_variables(tmp_path / "run", 3).state
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "6")
    # How often is saved, and how much is kept, may be another matter by now.
    more = ("--config.run.checkpoint_every=0.17", "--config.run.keep_checkpoints=3")
    resumed = command.succeed(*arguments, *more)
    assert resumed.stderr.startswith("resumed after step 3 of 6\n")
    assert saved(tmp_path / "run" / "checkpoints") == {4, 5, 6}
    after = load_variables(tmp_path / "run").state
    assert int(after["step"]) == 6 and int(before["step"]) == 3
    np.testing.assert_array_equal(after["key"], before["key"])


SHORT = ("--config.pretrain.epochs=1",)


def test_a_run_saves_all_that_a_user_of_it_must_know(tmp_path):
    data = command.write_images(tmp_path / "images.npz")
    assert cli.main([str(it) for it in command.pretrain(tmp_path / "run", data, *SHORT)]) == 0
    state, meta = load_variables(tmp_path / "run")
    assert set(state) == {"step", "params", "batch_stats", "opt_state", "key"}
    assert set(state["params"]) == {"encoder", "decoder"} == set(state["batch_stats"])
    overrides = [it for it in command.TINY[1:] if it.startswith("--config.")]
    expected = load_config("digits", [*overrides, f"--config.data.name={data}", *SHORT])
    assert config_from_flat(meta["config"]) == expected
    assert {"python", "symskip_jax", "jax", "flax", "optax", "numpy"} <= set(meta["versions"])
    assert meta["versions"]["jax"] == jax.__version__
    with np.load(tmp_path / "images.npz") as archive:
        images = archive["train_images"].astype(np.float64)
    np.testing.assert_allclose(meta["normalization"]["mean"], images.mean((0, 1, 2)))
    np.testing.assert_allclose(meta["normalization"]["std"], images.std((0, 1, 2)))
    assert len(meta["data"]) == 16 and meta["verb"] == "pretrain"
    assert meta["channels"] == 3 and meta["skip"] == "symmetric"
    assert meta["spec"]["layers"] == [[3, 2, 4], [3, 2, 8]]


def harms() -> dict[str, Any]:
    def change(path: Path, position: float) -> None:
        content = bytearray(path.read_bytes())
        content[int(position * (len(content) - 1))] ^= 0x10
        path.write_bytes(content)

    return {
        "deleted": Path.unlink,
        "emptied": lambda path: path.write_bytes(b""),
        "cut short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
        "changed": lambda path: change(path, 0.5),
        "changed near its end": lambda path: change(path, 0.95),
    }


@pytest.mark.parametrize("harm", harms())
def test_a_damaged_checkpoint_is_never_taken_for_a_whole_one(tmp_path, fresh, caplog, harm):
    save(tmp_path / "whole" / "checkpoints", fresh, {4: 2.0, 5: 1.0})
    folder = tmp_path / "whole" / "checkpoints" / "5"
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 8
    passed_over = set()
    for file in files:
        workdir = tmp_path / "damaged"
        shutil.rmtree(workdir, ignore_errors=True)
        shutil.copytree(tmp_path / "whole", workdir)
        harms()[harm](workdir / "checkpoints" / "5" / file)
        caplog.clear()
        # To evaluate it: all of it, or a line.
        try:
            restored = load_variables(workdir, 5)
        except UserError as error:
            assert "\n" not in str(error) and f"{workdir / 'checkpoints' / '5'} " in str(error)
            restored = None
        if restored is not None:
            assert_equal(restored.state, at(fresh, 5))
            assert restored.meta == META
        # To go on from it: all of it, or the one before and a line.
        restored_too = restore(workdir / "checkpoints", fresh)
        step = int(restored_too.state.step)
        assert_equal(restored_too.state, at(fresh, step))
        assert restored_too.meta == META
        assert step == (4 if restored is None else 5), file
        if step == 4:
            passed_over.add(file.parts[0])
            assert (workdir / "broken_checkpoints" / "5").is_dir()
            assert caplog.text.count("checkpoint 5 cannot be read") == 1
    assert {"state", "meta"} <= passed_over


def test_where_no_checkpoint_can_be_read_all_stay_where_they_are(tmp_path, fresh):
    folder = tmp_path / "checkpoints"
    save(folder, fresh, {4: None, 5: None})
    for step in (4, 5):
        (folder / str(step) / "meta" / "metadata").unlink()
    for _ in range(2):
        message = user_error(lambda: restore(folder, fresh))
        assert "[4, 5]" in message and str(folder) in message and "meta/metadata" in message
        assert saved(folder) == {4, 5}


def test_what_a_killed_save_left_is_cleaned_up(tmp_path, fresh):
    folder = tmp_path / "checkpoints"
    save(folder, fresh, {4: None})
    shutil.copytree(folder / "4", folder / "5.orbax-checkpoint-tmp")
    assert int(restore(folder, fresh).state.step) == 4
    assert saved(folder) == {4}


def test_a_state_that_is_not_finite_is_never_saved(tmp_path, fresh):
    checkpoints = Checkpoints(tmp_path / "checkpoints", "psnr")
    log = RunLog(tmp_path, 0, 4)
    checkpoints.save(at(fresh, 1), META)

    def diverge(state: TrainState, first_step: int, n: int) -> tuple[TrainState, dict]:
        broken = jax.tree.map(lambda a: a.at[..., 0].set(jnp.nan), state.params["decoder"])
        state = state.replace(step=state.step + n, params={**state.params, "decoder": broken})
        return state, {"loss": np.ones(n, np.float32)}

    with pytest.raises(NonFiniteLossError) as caught, StopRequests() as stops:
        fit(
            at(fresh, 1),
            plan=Plan(2, 2, 1, 1, eval_every=9, checkpoint_every=0.5),
            advance=lambda step: diverge,
            evaluate=lambda state: {"psnr": 1.0, "loss": 1.0},
            learning_rate=lambda state: 1.0,
            meta=META,
            checkpoints=checkpoints,
            log=log,
            stops=stops,
            timing=Timing(),
            profile=Profile(tmp_path, ()),
        )
    log.close()
    checkpoints.close()
    assert "the parameters became nan at step 2" in str(caught.value)
    assert "the checkpoint of step 1 is whole" in str(caught.value)
    assert saved(tmp_path / "checkpoints") == {1}
