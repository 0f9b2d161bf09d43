"""What a run has cost so far: time, speed and operations, from what it left in its folder."""

import statistics
from collections.abc import Mapping
from typing import Any, NamedTuple

from symskip_jax.config import config_from_flat
from symskip_jax.errors import UserError
from symskip_jax.experiments import setup
from symskip_jax.experiments.run_folder import RunFolder
from symskip_jax.models.flops import PASSES_PER_STEP, forward_flops
from symskip_jax.training.checkpoints import read_meta


class Cost(NamedTuple):
    """Of a run up to its last record; None for what is not known.

    training_seconds: over all starts of the run, without evaluations and saves.
    evaluation_seconds: of the evaluations.
    images_per_second: the median of the records.
    flops: of training: floating-point operations, a multiplication and an addition being two.
    """

    training_seconds: float
    evaluation_seconds: float
    images_per_second: float | None
    flops: float | None


def run_cost(run: RunFolder) -> Cost:
    """Returns what a run has cost so far."""
    train = run.of("train")
    speeds = [it["images_per_second"] for it in train if "images_per_second" in it]
    return Cost(
        sum(it.get("seconds", 0.0) for it in train),
        sum(it.get("seconds", 0.0) for it in run.records if it["split"] != "train"),
        statistics.median(speeds) if speeds else None,
        _training_flops(run, train[-1]) if train else None,
    )


def _training_flops(run: RunFolder, last: Mapping[str, Any]) -> float | None:
    """Counts the steps up to a record by the network's forward pass; see `forward_flops`.

    Steps of the head alone cost one pass. A discriminator is left out.
    """
    meta = read_meta(run.workdir)
    try:
        config = config_from_flat(run.fields)
    except UserError:  # another version's
        return None
    channels = config.data.channels or meta.get("channels")
    if not channels or run.verb not in ("pretrain", "finetune"):
        return None
    if run.verb == "pretrain":
        model = setup.make_autoencoder(config, channels)
    elif "class_names" in meta:
        masks = meta.get("task") == "segmentation"
        make = setup.make_segmenter if masks else setup.make_classifier
        model = make(config, len(meta["class_names"]))
    else:
        return None
    passes = PASSES_PER_STEP * last["step"]
    if run.verb == "finetune" and run.identity.get("init", "scratch") != "scratch":
        head_steps = config.finetune.head_epochs * last["step"] / (last["epoch"] or 1)
        passes -= (PASSES_PER_STEP - 1) * min(head_steps, last["step"])
    images = passes * config[run.verb].batch_size
    return images * forward_flops(model, (*config.data.crop, channels))
