"""`symskip evaluate`: measure a trained network."""

import functools
import json
from pathlib import Path
from typing import Any

from jax import Array
from ml_collections import ConfigDict

from symskip_jax.config import apply_overrides, config_from_flat, load_config
from symskip_jax.errors import UserError
from symskip_jax.evaluation.reconstruction import rebuilder, reconstruction_evaluator
from symskip_jax.experiments import setup
from symskip_jax.experiments.checks import check_config
from symskip_jax.experiments.inputs import load_split
from symskip_jax.experiments.pretrain import SHEET_IMAGES, write_sheet
from symskip_jax.experiments.tasks import make_task, with_labels
from symskip_jax.training.checkpoints import Restored, load_variables
from symskip_jax.training.records import read_metrics
from symskip_jax.training.skips import SkipSchedule
from symskip_jax.training.workdir import make_workdir, write_json
from symskip_jax.transforms import Normalization

# The figures by which checkpoints are ranked, each of another kind of run.
BEST = ("accuracy", "mean_average_precision", "mean_iu", "psnr")


def evaluate(workdir: Path, step: str, config_path: str | None, overrides: list[str]) -> None:
    """Measures a checkpoint on `config.data.test_split`, prints the figures and keeps them.

    An auto-encoder gets PSNR and SSIM beside those of its input, and a sheet; a fine-tuned network
    gets the figures of its task. They are written to `evaluation.json` in the folder of the run.

    Args:
        workdir: of the run.
        step: `latest`, `best` or a number.
        config_path: of a configuration whose data to take instead of the run's own; or None.
        overrides: `--config.key=value`.

    Raises:
        UserError: there is no such checkpoint, or the data does not suit the network.
    """
    restored = load_variables(workdir, choose_step(workdir, step))
    if restored.meta["verb"] == "import":
        raise UserError(
            f"--workdir {workdir} holds an encoder alone, which gives nothing to measure; "
            "`symskip finetune --init` goes on from it"
        )
    own = config_from_flat(restored.meta["config"])
    is_autoencoder = restored.meta["verb"] == "pretrain"
    config = own if config_path is None else load_config(config_path)
    apply_overrides(config, overrides)
    check_config(config)
    make_workdir(workdir)
    require_same_network(config, restored, workdir)
    require_crop_served(config, restored, workdir)
    measure = measure_autoencoder if is_autoencoder else measure_task
    figures = {"step": int(restored.state["step"]), **measure(config, restored, workdir)}
    figures |= {"data": config.data.name, "split": config.data.test_split}
    write_json(workdir / "evaluation.json", figures)
    print(json.dumps(figures, indent=1))


def require_same_network(config: ConfigDict, restored: Restored, workdir: Path) -> None:
    """Checks that a configuration describes the network of a checkpoint.

    Raises:
        UserError: it describes another.
    """
    own = config_from_flat(restored.meta["config"])
    theirs = restored.meta["spec"], setup.autoencoder_facts(own)
    ours = setup.spec_facts(setup.make_spec(config)), setup.autoencoder_facts(config)
    # A classifier has no decoder, so nothing but the table shapes it.
    has_decoder = "decoder" in restored.state["params"]
    if ours != theirs if has_decoder else ours[0] != theirs[0]:
        raise UserError(
            f"config.model describes another network than the one in --workdir {workdir}; "
            "leave --config and --config.model away to take the run's own"
        )


def require_crop_served(config: ConfigDict, restored: Restored, workdir: Path) -> None:
    """Checks that a network can be shown the crop of a configuration that describes it.

    Raises:
        UserError: layers of it have their shape from the crop that it was trained on, another.
    """
    crop, own_crop = tuple(config.data.crop), tuple(restored.meta["config"]["data.crop"])
    if crop == own_crop:
        return
    params = restored.state["params"]
    bound = None
    if "decoder" in params and "channel_wise" in params:
        bound = "bottleneck serves"
    elif "head" in params and setup.make_spec(config).head == "fully_connected":
        bound = "fully connected layers serve"
    if bound is not None:
        raise UserError(
            f"config key data.crop={crop} does not suit the network in {workdir}: its {bound} "
            f"only the crop that it was trained on, {own_crop}"
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
    best = next(name for name in BEST if name in tests[0])
    return max(tests, key=lambda record: record[best])["step"]


def measure_autoencoder(config: ConfigDict, restored: Restored, workdir: Path) -> dict[str, Any]:
    """Returns PSNR and SSIM, and draws a sheet."""
    test = load_split(config, config.data.test_split)
    require_channels(restored, test.channels, test.name)
    normalization = Normalization.from_facts(restored.meta["normalization"])
    corruption = setup.make_corruption(config, normalization)
    crop = tuple(config.data.crop)
    model = setup.make_autoencoder(config, restored.meta["channels"])
    strength = skip_strength(restored)
    variables = setup.variables_of(restored)
    rebuild = rebuilder(model, normalization, corruption, crop)
    rebuilt = rebuild(variables, strength, test.first(SHEET_IMAGES))
    write_sheet(workdir / "images" / "evaluation.png", rebuilt)
    parts = functools.partial(test.parts, config.run.eval_batch_size)
    return reconstruction_evaluator(model, normalization, corruption, crop, parts)(
        variables, strength
    )


def skip_strength(restored: Restored) -> Array | None:
    """Returns how strong the inner skips of an auto-encoder were when it was saved; None for 1."""
    fade = restored.meta.get("skip_fade_steps")
    skips = SkipSchedule(fade=None if fade is None else tuple(fade))
    return skips.strength(restored.state["step"])


def measure_task(config: ConfigDict, restored: Restored, workdir: Path) -> dict[str, Any]:
    """Returns the figures of what was learnt from labels."""
    test = load_split(config, config.data.test_split)
    require_channels(restored, test.channels, test.name)
    test = with_labels(test)
    task, own_task = make_task(config, test), restored.meta.get("task", "classification")
    if task.name != own_task:
        raise UserError(
            f"{test.name} has labels for {task.name}, the network in {workdir} is for {own_task}"
        )
    theirs = list(task.class_names)
    if theirs != restored.meta["class_names"]:
        raise UserError(
            f"{test.name} has other classes than the network in {workdir}: {theirs[:3]}... "
            f"against {restored.meta['class_names'][:3]}..."
        )
    normalization = Normalization.from_facts(restored.meta["normalization"])
    return task.evaluator(normalization, test)(setup.variables_of(restored))


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
