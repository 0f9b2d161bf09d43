"""A run's network, frozen, with the configuration it is to be looked at by."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from ml_collections import ConfigDict

from symskip_jax.analysis.frozen import FrozenNetwork
from symskip_jax.config import apply_overrides, config_from_flat, load_config
from symskip_jax.errors import UserError
from symskip_jax.experiments import setup
from symskip_jax.experiments.checks import check_config
from symskip_jax.experiments.evaluate import (
    choose_step,
    require_channels,
    require_crop_served,
    require_same_network,
)
from symskip_jax.experiments.inputs import Input
from symskip_jax.training.checkpoints import Restored, load_variables
from symskip_jax.training.state import init_state
from symskip_jax.transforms import Normalization


class Run(NamedTuple):
    """A checkpoint and the configuration to look at it by: the run's own, or another's data."""

    workdir: Path
    config: ConfigDict
    restored: Restored

    def network(self, data: Input) -> FrozenNetwork:
        """Returns the network, for images of `data`.

        Raises:
            UserError: they have another number of channels.
        """
        require_channels(self.restored, data.channels, data.name)
        return FrozenNetwork(
            _model(self.config, self.restored),
            setup.variables_of(self.restored),
            Normalization.from_facts(self.restored.meta["normalization"]),
            tuple(self.config.data.crop),
        )

    def facts(self) -> dict[str, Any]:
        """Returns which network it is, down to its weights: two runs may agree in all else."""
        meta = self.restored.meta
        return {
            "verb": meta["verb"],
            "step": int(self.restored.state["step"]),
            "network": meta["spec"],
            "skip": meta.get("skip"),
            "weights": _fingerprint(setup.variables_of(self.restored)),
        }


def open_run(workdir: Path, step: str, config_path: str | None, overrides: list[str]) -> Run:
    """Opens a checkpoint of a run.

    Args:
        workdir: of the run.
        step: `latest`, `best` or a number.
        config_path: of a configuration to take instead of the run's own; or None.
        overrides: `--config.key=value`.

    Raises:
        UserError: there is no such checkpoint, or the configuration describes another network or
            a crop that this one does not serve.
    """
    restored = load_variables(workdir, choose_step(workdir, step))
    own = config_from_flat(restored.meta["config"])
    config = own if config_path is None else load_config(config_path)
    apply_overrides(config, overrides)
    check_config(config)
    require_same_network(config, restored, workdir)
    require_crop_served(config, restored, workdir)
    return Run(workdir, config, restored)


def untrained_network(
    config: ConfigDict, data: Input, num_classes: int
) -> tuple[FrozenNetwork, dict[str, Any]]:
    """Returns the classifier of a configuration before its first step, and which it is.

    BatchNorm's running statistics are those it starts with, mean 0 and variance 1.
    """
    model = setup.make_classifier(config, num_classes)
    crop = tuple(config.data.crop)
    shape = (*crop, data.channels)
    state = jax.jit(lambda: init_state(model, optax.identity(), config.seed, shape))()
    facts = {
        "verb": "init",
        "step": 0,
        "network": setup.spec_facts(model.spec),
        "init": config.model.init,
    }
    return FrozenNetwork(model, state.variables, data.normalization(), crop), facts


def _fingerprint(variables: Mapping[str, Any]) -> str:
    """Returns a hash of the names, shapes and values of all variables."""
    found = hashlib.sha256()
    for path, leaf in jax.tree.leaves_with_path(variables):
        array = np.asarray(leaf)
        found.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        found.update(array.tobytes())
    return found.hexdigest()[:16]


def _model(config: ConfigDict, restored: Restored) -> Any:
    meta = restored.meta
    if meta["verb"] == "pretrain":
        return setup.make_autoencoder(config, meta["channels"])
    if meta["verb"] == "import":
        raise UserError(
            "the layers of an encoder alone cannot be looked at: import the whole network, or "
            "`symskip finetune --init` from this one"
        )
    if "class_names" not in meta:
        raise UserError(f"the layers of a network of `symskip {meta['verb']}` cannot be looked at")
    num_classes = len(meta["class_names"])
    if "head" in restored.state["params"]:
        return setup.make_classifier(config, num_classes)
    return setup.make_segmenter(config, num_classes)
