"""Context Encoder's step: reconstruction and adversarial loss together (Pathak et al. 2016)."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

from symskip_jax.models import AutoEncoder, Discriminator
from symskip_jax.training.losses import Measured, Metrics
from symskip_jax.training.reconstruction import ReconstructionLoss, reconstruct_batch
from symskip_jax.training.skips import ALL_SKIPS, SkipSchedule
from symskip_jax.training.state import TrainState, new_state
from symskip_jax.training.steps import Batch, descend
from symskip_jax.transforms import Normalization, PretrainTransform

# The discriminator learns this many times as fast as the auto-encoder (their section 4).
DISCRIMINATOR_RATE = 0.1

_NAME = "discriminator"


def context_encoder_step(
    state: TrainState,
    batch: Batch,
    *,
    model: AutoEncoder,
    discriminator: Discriminator,
    optimizer: optax.GradientTransformationExtraArgs,
    transform: PretrainTransform,
    normalization: Normalization,
    adversarial_weight: float = 0.001,
    loss: ReconstructionLoss = "masked",
    skips: SkipSchedule = ALL_SKIPS,
    accumulate: int = 1,
    axis_name: str | None = None,
) -> tuple[TrainState, Metrics]:
    """Learns to reconstruct, and to be taken for clean by a discriminator that learns meanwhile.

    Both take their step from the same parameters: the discriminator tells the clean images from
    the reconstructions, each a batch of its own to its BatchNorm, and the auto-encoder minimises
    (1 - w) * reconstruction + w * adversarial loss, in which its outputs should count as clean.

    Args:
        state: see `init_context_encoder`.
        batch: `image`, uint8 [B, H, W, C].
        model: the auto-encoder.
        discriminator: of whole images.
        optimizer: that the state was made with; see `slow_discriminator`.
        transform: crop, flip and corruption.
        normalization: of the pixels.
        adversarial_weight: w.
        loss: the reconstruction loss, as in `pretrain_step`.
        skips: as in `pretrain_step`.
        accumulate: as in `pretrain_step`.
        axis_name: the mapped axis under pmap.

    Returns:
        The new state, and what `pretrain_step` measures, but that `loss` is the joint one; and
        `reconstruction_loss`, `adversarial_loss` and `discriminator_loss` (cross-entropies, nats;
        2 ln 2 is a discriminator that knows nothing).
    """

    def loss_fn(
        params: Any, batch_stats: Any, batch: Batch, keys_b: Array
    ) -> tuple[Array, tuple[Any, Measured]]:
        rebuilt = reconstruct_batch(
            {"params": _without(params), "batch_stats": _without(batch_stats)},
            batch["image"],
            keys_b,
            state.step,
            model=model,
            transform=transform,
            normalization=normalization,
            loss=loss,
            skips=skips,
        )

        def judge(own: Any, statistics: Any, images: Array, label: float) -> tuple[Array, Any]:
            logits, updated = discriminator.apply(
                {"params": own, "batch_stats": statistics},
                images,
                train=True,
                mutable=["batch_stats"],
            )
            labels = jnp.full_like(logits, label)
            losses = optax.sigmoid_binary_cross_entropy(logits, labels)
            return losses.mean(), updated.get("batch_stats", {})

        own, statistics = params[_NAME], batch_stats.get(_NAME, {})
        told_clean, statistics = judge(own, statistics, rebuilt.target, 1.0)
        told_rebuilt, updated = judge(own, statistics, lax.stop_gradient(rebuilt.output), 0.0)
        fooled, _ = judge(lax.stop_gradient(own), statistics, rebuilt.output, 1.0)
        told = told_clean + told_rebuilt
        joint = (1 - adversarial_weight) * rebuilt.loss + adversarial_weight * fooled
        measured = {
            **rebuilt.measured,
            "loss": joint,
            "reconstruction_loss": rebuilt.loss,
            "adversarial_loss": fooled,
            "discriminator_loss": told,
        }
        return joint + told, (_with(rebuilt.batch_stats, updated), (measured, len(keys_b)))

    return descend(state, batch, loss_fn, optimizer, accumulate, axis_name)


def slow_discriminator(
    optimizer: optax.GradientTransformationExtraArgs,
) -> optax.GradientTransformationExtraArgs:
    """Returns an optimiser that moves the discriminator `DISCRIMINATOR_RATE` times as far."""
    slower = optax.masked(
        optax.scale(DISCRIMINATOR_RATE), lambda params: {name: name == _NAME for name in params}
    )
    return optax.with_extra_args_support(optax.chain(optimizer, slower))


def init_context_encoder(
    model: AutoEncoder,
    discriminator: Discriminator,
    optimizer: optax.GradientTransformation,
    seed: int | Array,
    image_shape: tuple[int, int, int],
) -> TrainState:
    """Returns the state before the first step.

    Its parameters and statistics are those that `init_state` gives the auto-encoder, and the
    `discriminator` beside them.

    Args:
        model: the auto-encoder.
        discriminator: of its outputs.
        optimizer: of the steps to come.
        seed: decides the parameters and every later draw.
        image_shape: (H, W, C) of the network's input.
    """
    init_key, run_key = jax.random.split(jax.random.key(seed))
    images = jnp.zeros((1, *image_shape))
    ours = model.init(init_key, images, train=False)
    its = discriminator.init(jax.random.fold_in(init_key, 1), images, train=False)
    return new_state(
        _with(ours["params"], its["params"]),
        _with(ours.get("batch_stats", {}), its.get("batch_stats", {})),
        optimizer,
        run_key,
    )


def _without(tree: Any) -> dict[str, Any]:
    return {name: branch for name, branch in tree.items() if name != _NAME}


def _with(tree: Any, of_discriminator: Any) -> dict[str, Any]:
    # A discriminator of one layer has no statistics, and a checkpoint keeps no empty branch.
    return {**tree, **({_NAME: of_discriminator} if of_discriminator else {})}
