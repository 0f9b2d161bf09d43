"""What a run costs: operations counted from its configuration, before anything is run."""

import functools
import json
from collections.abc import Mapping
from contextlib import suppress

from ml_collections import ConfigDict

from symskip_jax.config import config_from_flat, flat, load_config
from symskip_jax.data.sources import open_source
from symskip_jax.errors import UserError
from symskip_jax.experiments import setup
from symskip_jax.models.flops import PASSES_PER_STEP, forward_flops
from symskip_jax.reproduction.datasets import ROLES
from symskip_jax.reproduction.grid import Run
from symskip_jax.reproduction.probe_cost import probe_flops

# The classes of the head hardly count.
_CLASSES = 10
_SHAPING = ("model.", "data.crop", "data.channels")
# As many as `symskip visualize` takes by itself: to measure maps, clean and corrupted; to rebuild.
_MAPS, _REBUILT = 2 * 64, 6


def run_flops(run: Run, names: Mapping[str, str]) -> float | None:
    """Counts the operations of one seed of a run.

    Forward passes are counted by XLA in the network as it is before optimisation, on images of the
    size of the crop, with those of the evaluations (whole images of a segmentation count as crops);
    probes as `probe_flops` says. Needs no accelerator.

    Args:
        run: of any verb.
        names: of the datasets.

    Returns:
        Floating-point operations, a multiplication and an addition being two; None where it cannot
        be said, as the number of images is unknown.
    """
    config = _configuration(run, names)
    forward = _forward_flops(_part(run), _shape_of(config))
    if run.verb == "restore":
        height, width = config.data.crop
        pixels = ROLES[run.role].pixels
        return forward * pixels / (height * width) if pixels else None
    if run.verb == "visualize":
        shown = _REBUILT if "--reconstructions" in run.arguments else _MAPS
        return forward * shown * len(run.sources())
    test = _count(run, config, config.data.test_split)
    if run.verb == "probe":
        rebuilds = "classification" not in run.arguments
        return None if test is None else probe_flops(config, test, rebuilds)
    images = _count_trained_on(run, config)
    if images is None:
        return None
    # An epoch is whole batches: what is left over waits for the next.
    section = config[run.verb]
    steps_per_epoch = images // section.batch_size
    passes = PASSES_PER_STEP * section.epochs
    if run.verb == "finetune" and run.source is not None:
        # The first epochs learn the head alone.
        passes -= (PASSES_PER_STEP - 1) * config.finetune.head_epochs
    trained = steps_per_epoch * section.batch_size * passes
    shown = (test or 0) * (config.evaluation.crops if run.verb == "finetune" else 1)
    return forward * (trained + shown * _evaluations(config, run.verb, steps_per_epoch))


def run_dtype(run: Run) -> str:
    """Returns the name of the type that a run computes in."""
    return str(_configuration(run, {it: ROLES[it].name for it in ROLES}).model.dtype)


def _configuration(run: Run, names: Mapping[str, str]) -> ConfigDict:
    """Returns the configuration of a run, or of what it looks at with its own settings."""
    if not run.config:
        assert run.source is not None
        origin = run.source
        own = run.overrides(0, names[run.role])
    else:
        origin, own = run, []
    return _loaded(origin.config, (*origin.overrides(0, names[origin.role]), *own))


@functools.lru_cache(maxsize=1024)
def _loaded(config: str, overrides: tuple[str, ...]) -> ConfigDict:
    # All seeds cost the same.
    return load_config(config, overrides)


def _part(run: Run) -> str:
    looked_at = run if run.config else run.source
    assert looked_at is not None
    if looked_at.verb == "pretrain":
        return "autoencoder"
    # A segmenter keeps the decoder.
    return "autoencoder" if looked_at.role == "voc2012" else "classifier"


def _evaluations(config: ConfigDict, verb: str, steps_per_epoch: int) -> int:
    """Returns how many a training has, one of them at its end; see `training.loop.Plan`."""
    total = config[verb].epochs * steps_per_epoch
    period = max(1, round(config.run.eval_every * steps_per_epoch))
    return -(-total // period)


def _shape_of(config: ConfigDict) -> str:
    """Returns, as JSON, the fields that decide what a pass costs: recipes share networks."""
    kept = {key: value for key, value in flat(config).items() if key.startswith(_SHAPING)}
    return json.dumps({key: value for key, value in kept.items() if key != "model.init"})


@functools.lru_cache(maxsize=256)
def _forward_flops(part: str, shape: str) -> float:
    """Returns the operations of one image's pass."""
    config = config_from_flat(json.loads(shape))
    channels = config.data.channels or 3
    if part == "autoencoder":
        model = setup.make_autoencoder(config, channels)
    else:
        model = setup.make_classifier(config, _CLASSES)
    return forward_flops(model, (*config.data.crop, channels))


def _count_trained_on(run: Run, config: ConfigDict) -> int | None:
    data = config.data
    if run.verb == "finetune":
        return data.num_labels or _count(run, config, data.train_split)
    return _count(run, config, data.pretrain_split or data.train_split)


def _count(run: Run, config: ConfigDict, split: str) -> int | None:
    """Returns how many images a split has: where it lies, or else as published."""
    with suppress(UserError, OSError):
        return len(open_source(config.data.name, split, config.data.data_dir or None))
    return ROLES[run.role].count(split)
