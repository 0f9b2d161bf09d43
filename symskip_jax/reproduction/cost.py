"""What a run costs: operations counted from its configuration, before anything is trained."""

import functools
import json
from collections.abc import Mapping
from contextlib import suppress

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from symskip_jax.config import config_from_flat, flat, load_config
from symskip_jax.data.sources import open_source
from symskip_jax.errors import UserError
from symskip_jax.experiments import setup
from symskip_jax.reproduction.datasets import ROLES
from symskip_jax.reproduction.grid import Run

# A gradient step costs a forward pass, and as much again for the gradients of the activations and
# for those of the kernels.
_PASSES = 3
# The classes of the head hardly count.
_CLASSES, _CHANNELS = 10, 3


def run_flops(run: Run, names: Mapping[str, str]) -> float | None:
    """Counts the operations of one seed of a training.

    Forward passes are counted by XLA in the network as it is before optimisation; the evaluations
    are left out. Needs no accelerator.

    Args:
        run: pretrain or finetune; of others nothing is counted.
        names: of the datasets.

    Returns:
        Floating-point operations, a multiplication and an addition being two; None where it cannot
        be said, as the number of images is unknown.
    """
    if run.verb not in ("pretrain", "finetune"):
        return None
    settings = [f"--config.{it}".replace("{seed}", "0") for it in run.chosen()]
    config = load_config(run.config, settings)
    config.data.name = names[run.role]
    images = _count_images(run, config)
    if images is None:
        return None
    forward = _forward_flops(_part(run), json.dumps(flat(config)))
    recipe = config[run.verb]
    # An epoch is whole batches: what is left over waits for the next.
    images = images // recipe.batch_size * recipe.batch_size
    if run.verb == "pretrain" or run.source is None:
        return _PASSES * forward * images * recipe.epochs
    # The first epochs learn the head alone.
    passes = _PASSES * recipe.epochs - (_PASSES - 1) * config.finetune.head_epochs
    return forward * images * passes


def _part(run: Run) -> str:
    # A segmenter keeps the decoder.
    return "autoencoder" if run.verb == "pretrain" or run.role == "voc2012" else "classifier"


@functools.lru_cache(maxsize=256)
def _forward_flops(part: str, fields: str) -> float:
    """Returns the operations of one image's pass."""
    config = config_from_flat(json.loads(fields))
    if part == "autoencoder":
        model = setup.make_autoencoder(config, _CHANNELS)
    else:
        model = setup.make_classifier(config, _CLASSES)
    image = jax.ShapeDtypeStruct((1, *config.data.crop, _CHANNELS), jnp.float32)
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)
    lowered = jax.jit(lambda v, x: model.apply(v, x, train=False)).lower(variables, image)
    analysis = lowered.cost_analysis()
    return float(analysis["flops"]) if analysis else 0.0


def _count_images(run: Run, config: ConfigDict) -> int | None:
    data = config.data
    if run.verb == "finetune" and data.num_labels:
        return data.num_labels
    split = (data.pretrain_split if run.verb == "pretrain" else "") or data.train_split
    with suppress(UserError, OSError):
        return len(open_source(data.name, split, data.data_dir or None))
    published = ROLES[run.role].images
    for name in (split, split.replace("vehicles", "animals")):
        if name in published:
            return published[name]
    return published["fold_0"] if split.startswith("fold_") else None
