"""`symskip evaluate`: measure a trained network."""

import functools
import json
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from symskip_jax.config import apply_overrides, config_from_flat, load_config
from symskip_jax.errors import UserError
from symskip_jax.evaluation.classification import classification_evaluator
from symskip_jax.evaluation.reconstruction import reconstruction_evaluator
from symskip_jax.experiments import setup
from symskip_jax.experiments.checks import check_config
from symskip_jax.experiments.finetune import require_labels
from symskip_jax.experiments.inputs import load_split
from symskip_jax.experiments.pretrain import SHEET_IMAGES, write_sheet
from symskip_jax.training.checkpoints import Restored, load_variables
from symskip_jax.training.logs import read_metrics
from symskip_jax.training.workdir import make_workdir, write_json
from symskip_jax.transforms import Normalization


def evaluate(workdir: Path, step: str, config_path: str | None, overrides: list[str]) -> None:
    """Measures a checkpoint on `config.data.test_split`, prints the figures and keeps them.

    An auto-encoder gets PSNR and SSIM beside those of its input, and a sheet; a classifier gets its
    accuracy on centre crops. They are written to `evaluation.json` in the folder of the run.

    Args:
        workdir: of the run.
        step: `latest`, `best` or a number.
        config_path: of a configuration whose data to take instead of the run's own; or None.
        overrides: `--config.key=value`.

    Raises:
        UserError: there is no such checkpoint, or the data does not suit the network.
    """
    restored = load_variables(workdir, choose_step(workdir, step))
    own = config_from_flat(restored.meta["config"])
    config = own if config_path is None else load_config(config_path)
    apply_overrides(config, overrides)
    check_config(config)
    make_workdir(workdir)
    is_autoencoder = restored.meta["verb"] == "pretrain"
    require_same_network(config, restored, workdir)
    measure = measure_autoencoder if is_autoencoder else measure_classifier
    figures = {"step": int(restored.state["step"]), **measure(config, restored, workdir)}
    figures |= {"data": config.data.name, "split": config.data.test_split}
    write_json(workdir / "evaluation.json", figures)
    print(json.dumps(figures, indent=1))


def require_same_network(config: ConfigDict, restored: Restored, workdir: Path) -> None:
    """Checks that a configuration describes the network of a checkpoint.

    Raises:
        UserError: it describes another.
    """
    skip = config.model.skip  # which a classifier has not
    theirs = restored.meta["spec"], restored.meta.get("skip", skip)
    if (setup.spec_facts(setup.make_spec(config)), skip) != theirs:
        raise UserError(
            f"config.model describes another network than the one in --workdir {workdir}; "
            "leave --config and --config.model away to take the run's own"
        )


def choose_step(workdir: Path, step: str) -> int | None:
    """Returns the number of a checkpoint, or None for the latest.

    Raises:
        UserError: `step` is neither a number nor a name, or nothing was measured yet.
    """
    if step == "latest":
        return None
    if step.isdigit():
        return int(step)
    if step != "best":
        raise UserError(f"--step {step} must be latest, best or a number")
    saved = {int(p.name) for p in (workdir / "checkpoints").glob("*") if p.name.isdigit()}
    tests = [
        record
        for record in (read_metrics(workdir) if (workdir / "metrics.jsonl").is_file() else [])
        if record["split"] == "test" and record["step"] in saved
    ]
    if not tests:
        raise UserError(f"no checkpoint in {workdir} has been measured; --step latest needs none")
    return max(tests, key=lambda record: record["accuracy" if "accuracy" in record else "psnr"])[
        "step"
    ]


def measure_autoencoder(config: ConfigDict, restored: Restored, workdir: Path) -> dict[str, Any]:
    """Returns PSNR and SSIM, and draws a sheet."""
    test = load_split(config, config.data.test_split)
    require_channels(restored, test.channels, test.name)
    normalization = Normalization.from_facts(restored.meta["normalization"])
    corruption = setup.make_corruption(config, normalization)
    crop = tuple(config.data.crop)
    model = setup.make_autoencoder(config, restored.meta["channels"])
    variables = setup.variables_of(restored)
    write_sheet(
        workdir / "images" / "evaluation.png",
        model,
        variables,
        normalization,
        corruption,
        crop,
        test.first(SHEET_IMAGES),
    )
    parts = functools.partial(test.parts, config.run.eval_batch_size)
    return reconstruction_evaluator(model, normalization, corruption, crop, parts)(variables)


def measure_classifier(config: ConfigDict, restored: Restored, workdir: Path) -> dict[str, Any]:
    """Returns the accuracy."""
    test = load_split(config, config.data.test_split)
    require_channels(restored, test.channels, test.name)
    theirs = list(require_labels(test))
    if theirs != restored.meta["class_names"]:
        raise UserError(
            f"{test.name} has other classes than the network in {workdir}: {theirs[:3]}... "
            f"against {restored.meta['class_names'][:3]}..."
        )
    crop = tuple(config.data.crop)
    own_crop = tuple(restored.meta["config"]["data.crop"])
    model = setup.make_classifier(config, len(theirs))
    if model.spec.head == "fully_connected" and crop != own_crop:
        raise UserError(
            f"config key data.crop={crop} does not suit the network in {workdir}: its fully "
            f"connected layers serve only the crop that it was trained on, {own_crop}"
        )
    normalization = Normalization.from_facts(restored.meta["normalization"])
    parts = functools.partial(test.parts, config.run.eval_batch_size)
    measure = classification_evaluator(model, normalization, crop, parts)
    return measure(setup.variables_of(restored))


def require_channels(restored: Restored, channels: int, name: str) -> None:
    """Checks that images suit a network.

    Raises:
        UserError: they have another number of channels.
    """
    if channels != restored.meta["channels"]:
        raise UserError(
            f"{name} has {channels} channels, the network was trained on "
            f"{restored.meta['channels']}"
        )
