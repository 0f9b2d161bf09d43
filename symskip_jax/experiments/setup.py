"""From a configuration to the objects that a run is made of."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
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
from symskip_jax.training.mesh import data_mesh, sharded_optimizer
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


class Batches(NamedTuple):
    """How a section takes its images.

    Attributes:
        steps_per_epoch: full batches in the data.
        accumulate: micro-batches that a batch is cut into.
    """

    steps_per_epoch: int
    accumulate: int


def make_batches(training: ConfigDict, section: str, count: int, devices: int) -> Batches:
    """Returns how `training`, the section of that name, takes `count` images on so many devices.

    Raises:
        UserError: the batch is larger than the data, or cannot be split as asked.
    """
    size = training.batch_size
    if size > count:
        # The fewest images that can be split as asked, doubled as long as it fits.
        fitting = (training.per_device_batch_size or training.accumulate) * devices
        mend = "give it more images"
        if fitting <= count:
            fitting <<= (count // fitting).bit_length() - 1
            mend = f"set --config.{section}.batch_size={fitting}"
        raise UserError(
            f"config key {section}.batch_size={size} must be 1 to {count}, the images there are; "
            f"{mend}"
        )
    return Batches(count // size, _micro_batches(training, section, devices))


def with_accumulate(config: ConfigDict, section: str, accumulate: int) -> ConfigDict:
    """Returns a configuration that says how batches are cut, whatever number of devices did it."""
    said = config.copy_and_resolve_references()
    said[section].accumulate = accumulate
    return said


def _micro_batches(training: ConfigDict, section: str, devices: int) -> int:
    size, accumulate = training.batch_size, training.accumulate
    at_once = training.per_device_batch_size
    if not at_once:
        if size % (accumulate * devices):
            raise UserError(
                f"config key {section}.batch_size={size} cannot be split over {devices} devices "
                f"and {section}.accumulate={accumulate} micro-batches; "
                f"choose a multiple of {devices * accumulate}"
            )
        return accumulate
    if size % (at_once * devices):
        raise UserError(
            f"config key {section}.batch_size={size} cannot be split over {devices} devices with "
            f"{section}.per_device_batch_size={at_once} images each at a time; "
            f"choose a multiple of {devices * at_once}"
        )
    derived = size // (at_once * devices)
    if accumulate not in (1, derived):
        raise UserError(
            f"config key {section}.accumulate={accumulate} contradicts {section}.batch_size={size} "
            f"on {devices} devices with {section}.per_device_batch_size={at_once}, which make "
            f"{derived}; set one of the two, or {section}.accumulate={derived}"
        )
    return derived


def make_mesh(config: ConfigDict, devices: Sequence[Any] | None = None) -> Mesh:
    """Returns the given devices, or all, in the replicas of `config.run`.

    Raises:
        UserError: the replicas do not divide the devices.
    """
    replicas, count = config.run.replicas, len(jax.devices() if devices is None else devices)
    if count % replicas:
        raise UserError(
            f"config key run.replicas={replicas} must divide the {count} devices there are; "
            f"choose one of {_divisors(count)}"
        )
    return data_mesh(devices, replicas)


def spread_optimizer(
    config: ConfigDict, optimizer: optax.GradientTransformationExtraArgs, mesh: Mesh
) -> optax.GradientTransformationExtraArgs:
    """Returns the optimiser for a state that lies as `config.run` asks."""
    return sharded_optimizer(optimizer, mesh) if config.run.shard_optimizer else optimizer


def batch_norm_groups(config: ConfigDict, devices: int) -> int:
    """Returns the parts of a batch that BatchNorm normalises each by itself on so many devices.

    Raises:
        UserError: the devices cannot be grouped as `config.model` asks.
    """
    together = config.model.batch_norm_devices
    if not together:
        return 1
    if devices % together:
        raise UserError(
            f"config key model.batch_norm_devices={together} must divide the {devices} devices "
            f"there are; choose one of {_divisors(devices)}, or 0 for all"
        )
    return devices // together


def _divisors(number: int) -> str:
    return ", ".join(str(n) for n in range(1, number + 1) if number % n == 0)


def spec_facts(spec: Spec) -> dict[str, Any]:
    """Returns the table of a network as JSON holds it."""
    return {"name": spec.name, "layers": [list(layer) for layer in spec.layers]}


def variables_of(restored: Restored) -> dict[str, Any]:
    """Returns the variables to apply a module to, out of a checkpoint: averaged if asked for."""
    return averaged_variables(restored.state)
