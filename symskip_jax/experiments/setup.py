"""From a configuration to the objects that a run is made of."""

from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from symskip_jax.errors import UserError
from symskip_jax.models import (
    AutoEncoder,
    Classifier,
    Segmenter,
    Spec,
    WideAutoEncoder,
    WideClassifier,
    network_1,
    network_2,
    network_3,
    red_net,
    wide_resnet,
)
from symskip_jax.training.averaging import averaged_variables
from symskip_jax.training.checkpoints import Restored
from symskip_jax.transforms import Augmentation, Corruption, Normalization, StrongAugmentation


def make_spec(config: ConfigDict) -> Spec:
    """Returns the network of `config.model`.

    Raises:
        UserError: numbers that make no such network, or a width that leaves no filters.
    """
    model = config.model
    if model.name == "network_1":
        spec = network_1(tuple(model.blocks), model.n)
    elif model.name == "wide_resnet":
        spec = wide_resnet(model.depth, model.widen)
    elif model.name == "red_net":
        spec = red_net(model.depth)
    else:
        spec = network_2() if model.name == "network_2" else network_3()
    return spec.scaled(model.width_multiplier)


def make_autoencoder(config: ConfigDict, channels: int) -> AutoEncoder:
    """Returns the auto-encoder of `config.model` for images of so many channels."""
    model = config.model
    kind = WideAutoEncoder if model.name == "wide_resnet" else AutoEncoder
    return kind(
        make_spec(config),
        channels,
        model.skip,
        model.init,
        jnp.dtype(model.dtype),
        skip_placement=model.skip_placement,
        skip_gate=model.skip_gate,
        bottleneck=model.bottleneck,
    )


def autoencoder_facts(config: ConfigDict) -> dict[str, str]:
    """Returns what shapes an auto-encoder beside its table, as JSON holds it."""
    model = config.model
    names = ("skip", "skip_placement", "skip_gate", "bottleneck")
    return {name: model[name] for name in names}


def make_classifier(config: ConfigDict, num_classes: int) -> Classifier:
    """Returns the classifier of `config.model`."""
    model = config.model
    kind = WideClassifier if model.name == "wide_resnet" else Classifier
    return kind(make_spec(config), num_classes, model.dropout, model.init, jnp.dtype(model.dtype))


def make_segmenter(config: ConfigDict, num_classes: int) -> Segmenter:
    """Returns the segmenter of `config.model`.

    Raises:
        UserError: a network that cannot be one.
    """
    model = config.model
    plain = {"skip_placement": "before", "skip_gate": "none", "bottleneck": "none"}
    for key, value in plain.items():
        if model[key] != value:
            raise UserError(f"config key model.{key}={model[key]!r} has no masks: set {value!r}")
    if model.name not in ("network_1", "network_2", "network_3"):
        raise UserError(
            f"config key model.name={model.name!r} has no masks: set network_1, _2 or _3"
        )
    spec = make_spec(config)
    if spec.layers[0].stride != 1:
        raise UserError(
            f"{spec.name} halves images in its first layer, so a convolution in the place of the "
            "last deconvolution has no masks of their size: set model.blocks=(2, ...)"
        )
    return Segmenter(spec, num_classes, model.skip, model.init, jnp.dtype(model.dtype))


def make_augmentation(config: ConfigDict) -> Augmentation:
    """Returns the crop and flip of `config.data`."""
    return Augmentation(tuple(config.data.crop), config.data.flip)


def make_finetune_augmentation(
    config: ConfigDict, normalization: Normalization
) -> Augmentation | StrongAugmentation:
    """Returns the crop and flip of `config.data`, and more if `config.finetune` asks for it."""
    augmentation = make_augmentation(config)
    if config.finetune.augmentation == "none":
        return augmentation
    return StrongAugmentation(augmentation, normalization.mean)


def make_corruption(config: ConfigDict, normalization: Normalization) -> Corruption:
    """Returns the corruption of `config.corruption`, which masks with the mean of the data.

    Raises:
        UserError: a block that does not fit the crop, or a range of noise levels that is none.
    """
    corruption = config.corruption
    block, crop = tuple(corruption.block_size), tuple(config.data.crop)
    if corruption.kind == "blocks" and not all(
        1 <= b <= c for b, c in zip(block, crop, strict=True)
    ):
        raise UserError(
            f"config key corruption.block_size={block} does not fit the crop {crop}; "
            f"choose 1 to {crop[0]} and 1 to {crop[1]}"
        )
    highest = corruption.sigma_max
    if highest > 0 and (corruption.kind != "gaussian" or highest <= corruption.sigma):
        raise UserError(
            f"config key corruption.sigma_max={highest} must be 0, or be above corruption.sigma="
            f"{corruption.sigma} with corruption.kind=gaussian, not {corruption.kind}"
        )
    return Corruption(
        corruption.kind, corruption.sigma, corruption.num_blocks, block, normalization.mean, highest
    )


def check_batches(training: ConfigDict, section: str, count: int) -> int:
    """Returns the steps of an epoch over `count` images.

    Raises:
        UserError: the batch is larger than the data, or cannot be split as asked.
    """
    size, devices = training.batch_size, jax.device_count()
    if size > count:
        raise UserError(
            f"config key {section}.batch_size={size} must be 1 to {count}, the images there are"
        )
    if size % (training.accumulate * devices):
        raise UserError(
            f"config key {section}.batch_size={size} cannot be split over {devices} devices and "
            f"{section}.accumulate={training.accumulate} micro-batches; "
            f"choose a multiple of {devices * training.accumulate}"
        )
    return count // size


def spec_facts(spec: Spec) -> dict[str, Any]:
    """Returns the table of a network as JSON holds it."""
    return {"name": spec.name, "layers": [list(layer) for layer in spec.layers]}


def variables_of(restored: Restored) -> dict[str, Any]:
    """Returns the variables to apply a module to, out of a checkpoint: averaged if asked for."""
    return averaged_variables(restored.state)
