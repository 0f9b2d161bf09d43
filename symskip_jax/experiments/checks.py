"""What the fields of a configuration may be, whatever the data."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from symskip_jax.config import flat_items
from symskip_jax.errors import UserError


class _Rule(NamedTuple):
    holds: Callable[[Any], bool]
    words: str


def check_config(config: ConfigDict) -> None:
    """Checks every field of a configuration that has a rule.

    Raises:
        UserError: a choice that there is none, or a number that makes no sense.
    """
    for key, value in flat_items(config):
        if key in _RULES and not _RULES[key].holds(value):
            raise UserError(f"config key {key}={value!r} must be {_RULES[key].words}")
    for section in ("pretrain", "finetune"):
        _check_recipe(section, config[section])
    if config.model.name == "wide_resnet":
        _check_wide_resnet(config)


def check_head_epochs(config: ConfigDict) -> None:
    """Checks what counts where fine-tuning starts from a pre-trained network alone.

    From scratch all layers are new, and `finetune.head_epochs` is passed over.

    Raises:
        UserError: the new layers would learn alone for longer than there are epochs.
    """
    recipe = config.finetune
    if recipe.head_epochs > recipe.epochs:
        raise UserError(
            f"config key finetune.head_epochs={recipe.head_epochs} must be at most "
            f"finetune.epochs={recipe.epochs}, the epochs in all"
        )


def _check_recipe(section: str, recipe: ConfigDict) -> None:
    if recipe.optimizer == "adam" and recipe.weight_decay > 0:
        raise UserError(
            f"config key {section}.weight_decay={recipe.weight_decay} is of adamw and sgd, and "
            f"{section}.optimizer is adam; choose one of those, or weight_decay=0"
        )
    if recipe.warmup_epochs >= recipe.epochs:
        raise UserError(
            f"config key {section}.warmup_epochs={recipe.warmup_epochs} must be below "
            f"{section}.epochs={recipe.epochs}, the epochs in all"
        )


def _check_wide_resnet(config: ConfigDict) -> None:
    only = {
        "model.skip_placement": "before",
        "model.skip_gate": "none",
        "model.bottleneck": "none",
    }
    fields = dict(flat_items(config))
    for key, value in only.items():
        if fields[key] != value:
            raise UserError(
                f"config key {key}={fields[key]!r} is not for model.name=wide_resnet, which takes "
                f"{value!r} alone"
            )


def _one_of(*choices: str) -> _Rule:
    return _Rule(lambda value: value in choices, f"one of {', '.join(choices)}")


def _whole_numbers(count: int, lowest: int, words: str) -> _Rule:
    def holds(values: Sequence[Any]) -> bool:
        return len(values) == count and all(isinstance(v, int) and v >= lowest for v in values)

    return _Rule(holds, words)


def _are_milestones(values: Sequence[Any]) -> bool:
    if not all(isinstance(v, int | float) and 0 < v < math.inf for v in values):
        return False
    return list(values) == sorted(set(values))


def _are_penalties(values: Sequence[Any]) -> bool:
    return len(values) > 0 and all(isinstance(v, int | float) and 0 < v < math.inf for v in values)


_SEED = _Rule(lambda value: 0 <= value < 2**32, "from 0 to 2**32 - 1")
_COUNT = _Rule(lambda value: value >= 1, "at least 1")
_COUNT_OR_NONE = _Rule(lambda value: value >= 0, "0 or more")
_POSITIVE = _Rule(lambda value: 0 < value < math.inf, "a number above 0")
_NOT_NEGATIVE = _Rule(lambda value: 0 <= value < math.inf, "a number, 0 or more")
_BELOW_ONE = _Rule(lambda value: 0 <= value < 1, "from 0 to below 1")
_SHARE = _Rule(lambda value: 0 <= value <= 1, "from 0 to 1")
_SIZE = _whole_numbers(2, 1, "two whole numbers above 0: height, width")

_TRAINING = {
    "batch_size": _COUNT,
    "per_device_batch_size": _COUNT_OR_NONE,
    "accumulate": _COUNT,
    "epochs": _COUNT,
    "optimizer": _one_of("adam", "adamw", "sgd"),
    "learning_rate": _POSITIVE,
    "momentum": _BELOW_ONE,
    "weight_decay": _NOT_NEGATIVE,
    "warmup_epochs": _NOT_NEGATIVE,
    "schedule": _one_of("milestones", "cosine"),
    "ema_decay": _BELOW_ONE,
    "milestones": _Rule(_are_milestones, "epochs above 0 in increasing order"),
    "milestone_factor": _POSITIVE,
    "plateau_patience": _COUNT_OR_NONE,
    "plateau_factor": _Rule(lambda value: 0 < value < 1, "a number between 0 and 1"),
}

_RULES = {
    "seed": _SEED,
    "model.name": _one_of("network_1", "network_2", "network_3", "red_net", "wide_resnet"),
    "model.blocks": _whole_numbers(4, 0, "four whole numbers: the layers of each block"),
    "model.n": _COUNT,
    "model.width_multiplier": _POSITIVE,
    "model.depth": _COUNT,
    "model.widen": _COUNT,
    "model.skip": _one_of("symmetric", "none"),
    "model.skip_placement": _one_of("before", "after"),
    "model.skip_gate": _one_of("none", "learned"),
    "model.bottleneck": _one_of("none", "channel_wise"),
    "model.init": _one_of("gaussian", "he"),
    "model.dtype": _one_of("float32", "bfloat16"),
    "model.batch_norm_devices": _COUNT_OR_NONE,
    "model.dropout": _BELOW_ONE,
    "data.num_labels": _COUNT_OR_NONE,
    "data.labels_seed": _SEED,
    "data.crop": _SIZE,
    "data.view": _one_of("crop", "random_resized"),
    "data.channels": _Rule(lambda value: value in (0, 1, 3), "0, 1 or 3"),
    "data.resize": _COUNT_OR_NONE,
    "data.min_area": _Rule(lambda value: 0 < value <= 1, "above 0, to 1"),
    "data.input": _one_of("auto", "resident", "streamed"),
    "data.threads": _COUNT_OR_NONE,
    "data.workers": _COUNT_OR_NONE,
    "data.bad_image": _one_of("fail", "skip"),
    "data.read_retries": _COUNT_OR_NONE,
    "corruption.kind": _one_of("gaussian", "blocks", "center", "regions", "none"),
    "corruption.sigma": _NOT_NEGATIVE,
    "corruption.sigma_max": _NOT_NEGATIVE,
    "corruption.num_blocks": _COUNT_OR_NONE,
    "corruption.block_size": _SIZE,
    **{f"pretrain.{key}": rule for key, rule in _TRAINING.items()},
    **{f"finetune.{key}": rule for key, rule in _TRAINING.items()},
    "pretrain.loss": _one_of("image", "masked"),
    "pretrain.adversarial_weight": _BELOW_ONE,
    "pretrain.skip_drop": _SHARE,
    "pretrain.skip_fade": _Rule(
        lambda values: len(values) in (0, 2) and _are_milestones(values),
        "empty, or two epochs above 0 in increasing order",
    ),
    "finetune.label_smoothing": _BELOW_ONE,
    "finetune.augmentation": _one_of("none", "strong"),
    "finetune.init_parts": _one_of("encoder", "encoder_decoder"),
    "evaluation.crops": _COUNT,
    "finetune.head_epochs": _COUNT_OR_NONE,
    "finetune.corruption_probability": _SHARE,
    "probe.num_labels": _COUNT,
    "probe.grid": _COUNT_OR_NONE,
    "probe.l2": _Rule(_are_penalties, "numbers above 0, at least one"),
    "probe.parameters": _COUNT,
    "probe.epochs": _COUNT,
    "probe.batch_size": _COUNT,
    "probe.learning_rate": _POSITIVE,
    "run.steps_per_dispatch": _COUNT,
    "run.eval_every": _POSITIVE,
    "run.checkpoint_every": _POSITIVE,
    "run.keep_checkpoints": _COUNT,
    "run.eval_batch_size": _COUNT,
    "run.monitor_images": _COUNT_OR_NONE,
    "run.profile_steps": _Rule(
        lambda values: not values or (len(values) == 2 and 0 <= values[0] < values[1]),
        "empty, or two steps in increasing order",
    ),
    "run.stall_seconds": _POSITIVE,
    "run.replicas": _COUNT,
}
