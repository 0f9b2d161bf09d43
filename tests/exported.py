"""Checkpoints of networks with every number drawn, as runs leave them, without a training."""

from pathlib import Path
from typing import Any

import command
import optax
import tiny
from ml_collections import ConfigDict

from symskip_jax.config import apply_overrides, flat, load_config
from symskip_jax.experiments import setup
from symskip_jax.experiments.pretrain import pretrain_meta
from symskip_jax.training.checkpoints import Checkpoints
from symskip_jax.training.skips import SkipSchedule
from symskip_jax.training.state import Averaged
from symskip_jax.transforms import Normalization

CLASSES = ("cat", "dog", "a | b")
NORMALIZATION = Normalization((110.5, 120.25, 130.125), (60.5, 70.25, 80.125))
THREE_LAYERS = ("--config.model.blocks=(3,0,0,0)", "--config.model.n=4")  # a skip is inside


def config_of(*fields: str) -> ConfigDict:
    """Returns the configuration of digits with images of 9x8, and fields set."""
    config = load_config("digits", ["--config.data.crop=(9,8)"])
    # Of several settings of one field the last counts.
    return apply_overrides(config, list({it.partition("=")[0]: it for it in fields}.values()))


def save_run(
    workdir: Path,
    *fields: str,
    task: str | None = None,
    fade: tuple[float, float] | None = None,
    averaged: bool = False,
    step: int = 7,
    recorded: dict[str, Any] | None = None,
) -> Any:
    """Saves a checkpoint of an auto-encoder, or of a task's network, and returns its state.

    What a fine-tuning records of its start is left out, but for what is given.
    """
    config = config_of(*fields)
    optimizer = optax.sgd(0.1)
    model: Any
    if task is None:
        model = setup.make_autoencoder(config, 3)
        meta = pretrain_meta(config, model, NORMALIZATION, SkipSchedule(fade=fade))
        meta["verb"] = "pretrain"
    else:
        segments = task == "segmentation"
        model = (setup.make_segmenter if segments else setup.make_classifier)(config, len(CLASSES))
        meta = {
            "verb": "finetune",
            "task": task,
            "spec": setup.spec_facts(model.spec),
            "channels": 3,
            "class_names": list(CLASSES),
            "normalization": NORMALIZATION._asdict(),
        }
    size = tuple(config.data.crop)
    state = tiny.make_state(model, optimizer, size=size)
    state = state.replace(step=state.step + step)
    if averaged:
        other = tiny.make_state(model, optimizer, seed=1, size=size)
        state = state.replace(opt_state=Averaged(state.opt_state, other.variables))
    checkpoints = Checkpoints(workdir / "checkpoints", "psnr")
    checkpoints.save(state, {**meta, **(recorded or {}), "config": flat(config), "versions": {}})
    checkpoints.close()
    return state


def save_colour_run(workdir: Path) -> Path:
    """Saves an auto-encoder of coloured 7x7 images, which are beside its folder, and returns it."""
    data = command.write_images(workdir.parent / "images.npz")
    save_run(workdir, *command.TINY[1:], *THREE_LAYERS, f"--config.data.name={data}")
    return workdir
