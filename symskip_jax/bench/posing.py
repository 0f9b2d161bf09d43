"""From a configuration to the problem that the contenders are given."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from symskip_jax.bench.problem import Problem
from symskip_jax.config import flat, flat_items
from symskip_jax.errors import UserError
from symskip_jax.experiments import setup
from symskip_jax.experiments.checks import check_config
from symskip_jax.experiments.objective import check_plain
from symskip_jax.transforms import measure_normalization

CHANNELS = 3
LEAST_IMAGES = 2048
MARGIN = 3  # pixels that images are larger than the crop: 32 for the paper's 29
CHECK_SIGMA = 30.0  # 0-255

_OF_THE_PEERS = {
    "pretrain.optimizer": "adam",
    "pretrain.warmup_epochs": 0,
    "pretrain.schedule": "milestones",
    "pretrain.ema_decay": 0,
}


def pose(
    config: ConfigDict, image_size: tuple[int, int] | None = None, num_images: int | None = None
) -> Problem:
    """Makes the problem of a configuration, the same one each time; no device is touched.

    The images are random, as zeros would make arithmetic cheaper than it is. Kernels are He's
    whatever `model.init` says: the loss would hardly depend on the paper's small ones, and a check
    would see little.

    Args:
        config: the whole configuration.
        image_size: (H, W) of the images; None for 3 pixels more than the crop, or the crop itself
            where the configuration has windows cut on the host.
        num_images: images to draw from; None for 2048 or more, so that a dispatch is a full one.

    Raises:
        UserError: something in the configuration is wrong, or does not fit the images.
    """
    check_config(config)
    check_plain(config)
    spec = setup.make_spec(config)
    if not spec.batch_norm:
        raise UserError(
            f"config key model.name={spec.name} cannot be compared: the peers have BatchNorm; "
            "choose another network"
        )
    crop, batch_size = tuple(config.data.crop), config.pretrain.batch_size
    on_host = config.data.view != "crop" or config.data.resize
    height, width = image_size or tuple(side + (0 if on_host else MARGIN) for side in crop)
    if crop[0] > height or crop[1] > width:
        raise UserError(
            f"config key data.crop={crop} does not fit --image_size {height} {width}; "
            f"choose at least {crop[0]} {crop[1]}"
        )
    count = num_images or max(LEAST_IMAGES, batch_size * config.run.steps_per_dispatch)
    if count < batch_size:
        raise UserError(
            f"--images {count} is less than config key pretrain.batch_size={batch_size}; "
            f"choose {batch_size} or more"
        )
    if config.pretrain.accumulate != 1:
        raise UserError(
            f"config key pretrain.accumulate={config.pretrain.accumulate} cannot be compared: the "
            "peers take whole batches; set it to 1"
        )
    fields = dict(flat_items(config))
    if config.pretrain.per_device_batch_size:
        raise UserError(
            f"config key pretrain.per_device_batch_size={config.pretrain.per_device_batch_size} "
            "cannot be compared: the peers take whole batches; set it to 0"
        )
    for key, value in _OF_THE_PEERS.items():
        if fields[key] != value:
            raise UserError(
                f"config key {key}={fields[key]} cannot be compared: the peers have {value}"
            )
    if config.model.name == "wide_resnet":
        raise UserError(
            "config key model.name=wide_resnet cannot be compared: the peers are chains of layers "
            "without shortcuts; choose network_1, _2 or _3"
        )
    random = np.random.default_rng(config.seed)
    images = random.integers(0, 256, (count, height, width, CHANNELS), np.uint8)
    clean = images[:batch_size, : crop[0], : crop[1]].astype(np.float32)
    noise = CHECK_SIGMA * random.standard_normal(clean.shape, np.float32)
    normalization = measure_normalization([images])
    # Checked here, so that the contenders have nothing to complain about.
    setup.make_corruption(config, normalization)
    variables = _variables(config, crop, random)
    return Problem(
        config=flat(config),
        layers=[(it.kernel, it.stride, it.width) for it in spec.layers],
        mean=normalization.mean,
        std=normalization.std,
        images=images,
        corrupted=clean + noise,
        clean=clean,
        params=variables["params"],
        batch_stats=variables["batch_stats"],
    )


def _variables(config: ConfigDict, crop: tuple[int, ...], random: np.random.Generator) -> Any:
    model = setup.make_autoencoder(config, CHANNELS)

    def init() -> Any:
        return model.init(jax.random.key(0), jnp.zeros((1, *crop, CHANNELS)), train=False)

    def fill(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        if path[-1].key == "kernel":
            deviation = np.float32(np.sqrt(2 / np.prod(leaf.shape[:-1])))
            return deviation * random.standard_normal(leaf.shape, np.float32)
        return np.full(leaf.shape, path[-1].key in ("scale", "var"), np.float32)

    return jax.tree.map_with_path(fill, jax.eval_shape(init))
