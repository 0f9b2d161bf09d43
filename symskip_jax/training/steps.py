"""The train steps: pure functions of a state and a batch.

What is static (module, optimiser, transform) is given by keyword and bound once by the caller, with
functools.partial; see `symskip_jax.training.mesh` for compiling the result.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

from symskip_jax.models import AutoEncoder, Classifier, Segmenter
from symskip_jax.training.losses import Measured, Metrics, TaskLoss, classification_loss
from symskip_jax.training.reconstruction import ReconstructionLoss, reconstruct_batch
from symskip_jax.training.skips import ALL_SKIPS, SkipSchedule
from symskip_jax.training.state import TrainState
from symskip_jax.transforms import (
    FinetuneTransform,
    Normalization,
    PretrainTransform,
    Purpose,
    image_keys,
    keys_for,
)

# Arrays of JAX or NumPy by name.
Batch = Mapping[str, Any]
# (keys_b, labels) -> labels, where they change with their images
LabelTransform = Callable[[Array, Array], Array]
# (params, batch_stats, batch, keys_b) -> (loss, (new batch_stats, measured))
LossFn = Callable[[Any, Any, Batch, Array], tuple[Array, tuple[Any, Measured]]]


def pretrain_step(
    state: TrainState,
    batch: Batch,
    *,
    model: AutoEncoder,
    optimizer: optax.GradientTransformationExtraArgs,
    transform: PretrainTransform,
    normalization: Normalization,
    loss: ReconstructionLoss = "image",
    skips: SkipSchedule = ALL_SKIPS,
    accumulate: int = 1,
    axis_name: str | None = None,
) -> tuple[TrainState, Metrics]:
    """Learns to reconstruct the clean images of a batch from corrupted ones (section 3.3).

    Args:
        state: of the auto-encoder.
        batch: `image`, uint8 [B, H, W, C].
        model: the auto-encoder.
        optimizer: that the state was made with.
        transform: crop, flip and corruption.
        normalization: of the pixels.
        loss: `image`, the mean squared error of normalised pixels; or `masked`, in which a visible
            pixel weighs a tenth of a masked one (after Pathak et al. 2016, equation 1).
        skips: strength of the inner skips.
        accumulate: micro-batches that the batch is cut into, one after the other; it divides B.
            Micro-batch m holds the images m, m + accumulate, and so on. BatchNorm sees one
            micro-batch at a time.
        axis_name: the mapped axis under pmap.

    Returns:
        The new state, and `loss`, `psnr` (dB, peak 255) and, beside a masked loss, `mse` (mean
        squared error of normalised pixels).

    Raises:
        ValueError: `accumulate` does not divide B.
    """

    def loss_fn(
        params: Any, batch_stats: Any, batch: Batch, keys_b: Array
    ) -> tuple[Array, tuple[Any, Measured]]:
        rebuilt = reconstruct_batch(
            {"params": params, "batch_stats": batch_stats},
            batch["image"],
            keys_b,
            state.step,
            model=model,
            transform=transform,
            normalization=normalization,
            loss=loss,
            skips=skips,
        )
        return rebuilt.loss, (rebuilt.batch_stats, (rebuilt.measured, len(keys_b)))

    return descend(state, batch, loss_fn, optimizer, accumulate, axis_name)


def keep_labels(keys_b: Array, labels: Array) -> Array:
    """The label transform of images whose classes are the same wherever they are cropped."""
    return labels


def finetune_step(
    state: TrainState,
    batch: Batch,
    *,
    model: Classifier | Segmenter,
    optimizer: optax.GradientTransformationExtraArgs,
    transform: FinetuneTransform,
    normalization: Normalization,
    task_loss: TaskLoss = classification_loss,
    transform_labels: LabelTransform = keep_labels,
    accumulate: int = 1,
    axis_name: str | None = None,
) -> tuple[TrainState, Metrics]:
    """Learns a task from labels, all layers at once (sections 3.3 and 5).

    Args:
        state: of the classifier or segmenter.
        batch: `image`, uint8 [B, H, W, C], and `label`, int32 [B] or as the task has it.
        model: the classifier or segmenter.
        optimizer: that the state was made with.
        transform: crop, flip and the occasional corruption.
        normalization: of the pixels, as in pre-training.
        task_loss: (outputs, labels) -> (loss [], (measured, count)): means over the batch by name,
            each [] and `loss` among them, and how many values they are of.
        transform_labels: (keys_b [B], labels) -> labels. A `MaskTransform` crops and flips masks
            with their images; by default labels stay as they are.
        accumulate: as in `pretrain_step`.
        axis_name: the mapped axis under pmap.

    Returns:
        The new state, and what `task_loss` measures: by default `loss` (cross-entropy, nats) and
        `accuracy` (0 to 1).

    Raises:
        ValueError: `accumulate` does not divide B.
    """

    def loss_fn(
        params: Any, batch_stats: Any, batch: Batch, keys_b: Array
    ) -> tuple[Array, tuple[Any, Measured]]:
        logits, updated = model.apply(
            {"params": params, "batch_stats": batch_stats},
            normalization.normalize(transform(keys_b, batch["image"])),
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": keys_for(keys_b, Purpose.DROPOUT)[0]},
        )
        loss, measured = task_loss(logits, transform_labels(keys_b, batch["label"]))
        return loss, (updated["batch_stats"], measured)

    return descend(state, batch, loss_fn, optimizer, accumulate, axis_name)


def head_step(
    state: TrainState,
    batch: Batch,
    *,
    model: Classifier,
    optimizer: optax.GradientTransformationExtraArgs,
    transform: FinetuneTransform,
    normalization: Normalization,
    task_loss: TaskLoss = classification_loss,
    transform_labels: LabelTransform = keep_labels,
    accumulate: int = 1,
    axis_name: str | None = None,
) -> tuple[TrainState, Metrics]:
    """Learns the new layers alone, on features of the encoder as it is (supplement B).

    The encoder runs in inference mode: neither its parameters nor its statistics change.

    Args:
        state: of the classifier.
        batch: `image`, uint8 [B, H, W, C], and `label`, int32 [B] or as the task has it.
        model: the classifier.
        optimizer: that the state was made with; it must hold the encoder still too, see `frozen` of
            `make_optimizer`.
        transform: as in `finetune_step`.
        normalization: as in `finetune_step`.
        task_loss: as in `finetune_step`.
        transform_labels: as in `finetune_step`.
        accumulate: as in `pretrain_step`.
        axis_name: the mapped axis under pmap.

    Returns:
        As in `finetune_step`.

    Raises:
        ValueError: `accumulate` does not divide B.
    """

    def loss_fn(
        params: Any, batch_stats: Any, batch: Batch, keys_b: Array
    ) -> tuple[Array, tuple[Any, Measured]]:
        variables = {"params": params, "batch_stats": batch_stats}
        images = normalization.normalize(transform(keys_b, batch["image"]))
        features = model.apply(variables, images, train=False, method=model.features)
        logits: Any = model.apply(
            variables,
            lax.stop_gradient(features),
            train=True,
            method=model.logits,
            rngs={"dropout": keys_for(keys_b, Purpose.DROPOUT)[0]},
        )
        loss, measured = task_loss(logits, transform_labels(keys_b, batch["label"]))
        return loss, (batch_stats, measured)

    return descend(state, batch, loss_fn, optimizer, accumulate, axis_name)


def descend(
    state: TrainState,
    batch: Batch,
    loss_fn: LossFn,
    optimizer: optax.GradientTransformationExtraArgs,
    accumulate: int,
    axis_name: str | None,
) -> tuple[TrainState, Metrics]:
    """Takes one step of the optimiser down the gradient of a loss.

    Args:
        state: of the network.
        batch: arrays [B, ...] by name, `image` among them.
        loss_fn: gives the loss, the new statistics and what is measured, `loss` among it, with
            how many values that is the mean of; each image draws by its own key.
        optimizer: that the state was made with; it is told the measured `loss`.
        accumulate: as in `pretrain_step`.
        axis_name: the mapped axis under pmap.

    Returns:
        The new state, and what was measured, over the whole batch however it is cut.

    Raises:
        ValueError: `accumulate` does not divide B.
    """
    size = batch["image"].shape[0]
    if accumulate < 1 or size % accumulate:
        raise ValueError(f"accumulate={accumulate} does not divide a batch of {size} images")
    keys_b = image_keys(state.step_key(), size, axis_name)
    if accumulate == 1 and axis_name is None:
        gradients, (batch_stats, (measured, _)) = jax.grad(loss_fn, has_aux=True)(
            state.params, state.batch_stats, batch, keys_b
        )
    else:
        sums, batch_stats, weight = _sums(
            loss_fn, state.params, state.batch_stats, batch, keys_b, accumulate
        )
        if axis_name is not None:
            sums, weight = lax.psum((sums, weight), axis_name)
        # Where nothing counts all sums are 0, and so are the means.
        gradients, measured = jax.tree.map(lambda x: x / jnp.maximum(weight, 1), sums)
    updates, opt_state = optimizer.update(
        gradients, state.opt_state, state.params, value=measured["loss"]
    )
    new = dataclasses.replace(
        state,
        step=state.step + 1,
        params=optax.apply_updates(state.params, updates),
        batch_stats=batch_stats,
        opt_state=opt_state,
    )
    return new, measured


def _sums(
    loss_fn: LossFn, params: Any, batch_stats: Any, batch: Batch, keys_b: Array, accumulate: int
) -> tuple[tuple[Any, Metrics], Any, Array | int]:
    """Returns gradients and metrics summed over all values, the last statistics, how many values.

    In a micro-batch, or on a device, may be more or fewer values that count than in others, so that
    the mean of their means would be wrong.
    """

    def summed(
        params: Any, batch_stats: Any, batch: Batch, keys_b: Array
    ) -> tuple[Array, tuple[Any, Measured]]:
        loss, (batch_stats, (measured, weight)) = loss_fn(params, batch_stats, batch, keys_b)
        # Before differentiating: through BatchNorm the gradients of a device under pmap are those
        # of the losses of all.
        measured = {name: value * weight for name, value in measured.items()}
        return loss * weight, (batch_stats, (measured, weight))

    def micro_step(batch_stats: Any, micro: tuple[Batch, Array]) -> tuple[Any, Any]:
        gradients, (batch_stats, (measured, weight)) = jax.grad(summed, has_aux=True)(
            params, batch_stats, *micro
        )
        return batch_stats, ((gradients, measured), weight)

    # Micro-batch m takes every image whose place leaves remainder m: so each is spread over the
    # devices like the batch, and pmap cuts the same ones.
    micros = jax.tree.map(
        lambda x: x.reshape(-1, accumulate, *x.shape[1:]).swapaxes(0, 1), (dict(batch), keys_b)
    )
    first = jax.tree.map(lambda x: x[0], micros)
    batch_stats, total = micro_step(batch_stats, first)
    if accumulate == 1:
        return total[0], batch_stats, total[1]

    def add(carry: tuple[Any, Any], micro: tuple[Batch, Array]) -> tuple[tuple[Any, Any], None]:
        batch_stats, total = carry
        batch_stats, more = micro_step(batch_stats, micro)
        return (batch_stats, jax.tree.map(jnp.add, total, more)), None

    rest = jax.tree.map(lambda x: x[1:], micros)
    (batch_stats, (sums, weight)), _ = lax.scan(add, (batch_stats, total), rest)
    return sums, batch_stats, weight
