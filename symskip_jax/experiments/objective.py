"""From a configuration to what pre-training minimises: its checks, its step and its state."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jax import Array
from ml_collections import ConfigDict

from symskip_jax.config import base_config, flat
from symskip_jax.errors import UserError
from symskip_jax.models import AutoEncoder, Discriminator, discriminator_layers
from symskip_jax.training.adversarial import (
    context_encoder_step,
    init_context_encoder,
    slow_discriminator,
)
from symskip_jax.training.skips import SkipSchedule
from symskip_jax.training.state import TrainState, init_state
from symskip_jax.training.steps import pretrain_step
from symskip_jax.transforms import MASKING_KINDS

_OF_SKIPS = ("model.skip_placement", "model.skip_gate", "pretrain.skip_drop", "pretrain.skip_fade")
_BEYOND_THE_PAPER = (
    *_OF_SKIPS,
    "model.bottleneck",
    "corruption.sigma_max",
    "pretrain.loss",
    "pretrain.adversarial_weight",
)


class Objective(NamedTuple):
    """How an auto-encoder is pre-trained.

    Attributes:
        step: pure, but for `model`, `optimizer`, `transform`, `normalization` and `accumulate`.
        optimizer: of the step.
        fresh_state: (seed, (H, W, C)) -> the state before the first step.
        skips: strength of the inner skips; the step has it already.
    """

    step: Callable[..., Any]
    optimizer: optax.GradientTransformationExtraArgs
    fresh_state: Callable[[int | Array, tuple[int, int, int]], TrainState]
    skips: SkipSchedule


def check_objective(config: ConfigDict) -> None:
    """Checks which fields of pre-training go together.

    Raises:
        UserError: two do not.
    """
    if config.model.bottleneck != "none" and config.model.skip != "none":
        raise UserError(
            f"config key model.bottleneck={config.model.bottleneck} needs model.skip=none, not "
            f"{config.model.skip}: past the bottleneck nothing may reach the decoder"
        )
    if config.model.skip == "none":
        for key, value, plain in _changed(config, _OF_SKIPS):
            raise UserError(
                f"config key {key}={value} has no skip to act on, as model.skip=none leaves the "
                f"inner ones away; set model.skip=symmetric, or {key}={plain}"
            )
    if config.pretrain.loss == "masked" and config.corruption.kind not in MASKING_KINDS:
        raise UserError(
            f"config key pretrain.loss=masked does not go with corruption.kind="
            f"{config.corruption.kind}, which masks no pixels; choose one of "
            f"{', '.join(MASKING_KINDS)}"
        )


def check_plain(config: ConfigDict) -> None:
    """Checks that pre-training is the paper's own: nothing else can be compared with the peers.

    Raises:
        UserError: names the field that goes beyond it.
    """
    for key, value, plain in _changed(config, _BEYOND_THE_PAPER):
        raise UserError(
            f"config key {key}={value} cannot be compared: it is ours alone; set it to {plain}"
        )
    if config.corruption.kind in ("center", "regions"):
        raise UserError(
            f"config key corruption.kind={config.corruption.kind} cannot be compared: it is ours "
            "alone; choose one of gaussian, blocks, none"
        )


def make_objective(
    config: ConfigDict,
    model: AutoEncoder,
    optimizer: optax.GradientTransformationExtraArgs,
    steps_per_epoch: int,
) -> Objective:
    """Returns how `config.pretrain` trains a model."""
    recipe = config.pretrain
    skips = SkipSchedule(recipe.skip_drop, skip_fade_steps(config, steps_per_epoch))
    static: dict[str, Any] = {"loss": recipe.loss, "skips": skips}
    if recipe.adversarial_weight == 0:
        step = functools.partial(pretrain_step, **static)

        def fresh_state(seed: int | Array, image_shape: tuple[int, int, int]) -> TrainState:
            return init_state(model, optimizer, seed, image_shape)

        return Objective(step, optimizer, fresh_state, skips)
    discriminator = make_discriminator(config, model.batch_norm_groups)
    slowed = slow_discriminator(optimizer)
    step = functools.partial(
        context_encoder_step,
        discriminator=discriminator,
        adversarial_weight=recipe.adversarial_weight,
        **static,
    )

    def fresh_pair(seed: int | Array, image_shape: tuple[int, int, int]) -> TrainState:
        return init_context_encoder(model, discriminator, slowed, seed, image_shape)

    return Objective(step, slowed, fresh_pair, skips)


def make_discriminator(config: ConfigDict, batch_norm_groups: int = 1) -> Discriminator:
    """Returns the discriminator of crops, as wide as `config.model` is scaled."""
    model = config.model
    width = max(1, round(64 * model.width_multiplier))
    layers = discriminator_layers(tuple(config.data.crop), width)
    dtype = jnp.dtype(model.dtype)
    return Discriminator(layers, model.init, dtype, batch_norm_groups=batch_norm_groups)


def skip_fade_steps(config: ConfigDict, steps_per_epoch: int) -> tuple[float, float] | None:
    """Returns the steps between which the inner skips fade; None for never."""
    if not config.pretrain.skip_fade:
        return None
    first, last = config.pretrain.skip_fade
    return first * steps_per_epoch, last * steps_per_epoch


def _changed(config: ConfigDict, keys: tuple[str, ...]) -> list[tuple[str, Any, Any]]:
    """Returns (key, value, default) of the fields that have not their default."""
    ours, plain = flat(config), flat(base_config())
    return [(key, ours[key], plain[key]) for key in keys if ours[key] != plain[key]]
