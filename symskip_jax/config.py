"""Experiment configurations: the fields there are, and how a file and the command line set them."""

import importlib.util
import json
import re
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from symskip_jax.errors import UserError, did_you_mean


def base_config() -> ConfigDict:
    """Every field there is, with the values of the paper's CIFAR-10 experiment (section 5.2).

    Returns:
        A configuration to change and return from the `get_config` of a file; it takes no new field.
    """
    config = ConfigDict()
    config.seed = 0  # decides initialisation, order, crops, flips and corruption

    config.model = ConfigDict()
    config.model.name = "network_1"  # network_1, _2 or _3 (supplement A), red_net, wide_resnet
    config.model.blocks = (5, 5, 5, 0)  # m1..m4 of network_1, layers
    config.model.n = 128  # filters in the first block of network_1
    config.model.width_multiplier = 1.0  # multiplies every width
    config.model.depth = 28  # layers of red_net (10, 20, 30) and of wide_resnet (6k + 4)
    config.model.widen = 10  # of wide_resnet: how many times 16, 32 and 64 filters
    config.model.skip = "symmetric"  # symmetric, or none: input to output only
    config.model.skip_placement = "before"  # of the activation that a skip joins: before or after
    config.model.skip_gate = "none"  # learned: each channel of a skip times a learned number
    config.model.bottleneck = "none"  # channel_wise: Context Encoder's fully connected layer
    config.model.init = "gaussian"  # gaussian: mean 0, deviation 0.01 (section 4); or he
    config.model.dtype = "float32"  # compute: float32 or bfloat16; parameters stay float32
    config.model.batch_norm_devices = 0  # that share its statistics; 0: all, 1: none
    config.model.dropout = 0.5  # in the fully connected layers of network_3

    config.data = ConfigDict()
    config.data.name = "tfds:cifar10"  # docs/data.md lists the names there are
    config.data.data_dir = ""  # where TFDS datasets are; "" for $TFDS_DATA_DIR or its default
    config.data.train_split = "train"  # what is trained on; for tfds: also train[:80%] and the like
    config.data.pretrain_name = ""  # what pre-training reads instead of name; "" for the same
    config.data.pretrain_split = ""  # what pre-training reads instead of train_split
    config.data.test_split = "test"  # what is measured on
    config.data.num_labels = 0  # labelled images for fine-tuning, class-balanced; 0 for all
    config.data.labels_seed = 0  # which of them are drawn
    config.data.crop = (29, 29)  # height, width in pixels: random in training, central in tests
    config.data.view = "crop"  # crop a window of that size, or random_resized: of a random size
    config.data.channels = 0  # 0: those the images have; 1: all grey; 3: all colour
    config.data.resize = 0  # shorter side in pixels that images get before the crop; 0 as they are
    config.data.min_area = 0.25  # random_resized: smallest share of the image that is shown
    config.data.flip = True  # mirror half of the training images
    config.data.input = "auto"  # resident in memory, streamed, or auto: resident if it fits
    config.data.threads = 0  # that read streamed images, in this process or each worker; 0: cores
    config.data.workers = 0  # processes that read streamed images; 0: this one does
    config.data.bad_image = "fail"  # what cannot be decoded: fail, or skip it and say so
    config.data.read_retries = 3  # times that a failed read is tried again

    config.corruption = ConfigDict()
    config.corruption.kind = "gaussian"  # or blocks (section 3.2), center, regions, none
    config.corruption.sigma = 30.0  # gaussian: deviation on the 0-255 scale
    config.corruption.sigma_max = 0.0  # if above sigma, each image's own is drawn up to this
    config.corruption.num_blocks = 8  # blocks: how many an image
    config.corruption.block_size = (5, 5)  # blocks: height, width in pixels

    config.pretrain = _training(learning_rate=1e-4, epochs=120, milestones=(60, 90), factor=0.1)
    config.pretrain.loss = "image"  # of the whole image, or masked: mostly of what was masked
    config.pretrain.adversarial_weight = 0.0  # Context Encoder's second loss; 0 for none
    config.pretrain.skip_drop = 0.0  # probability that a skip is left out, image by image
    config.pretrain.skip_fade = ()  # two epochs between which the skips fade out; () for never
    config.finetune = _training(
        learning_rate=1e-4, epochs=200, milestones=(60, 120, 160), factor=0.2
    )
    config.finetune.head_epochs = 0  # first epochs, in which only the new layers learn
    config.finetune.corruption_probability = 0.0  # share of training images corrupted

    config.finetune.label_smoothing = 0.0  # share of the target that all classes have alike
    config.finetune.augmentation = "none"  # strong: shifts, colours and an erased block too
    config.finetune.init_parts = "encoder"  # of --init; for masks also: encoder_decoder

    config.evaluation = ConfigDict()
    config.evaluation.crops = 1  # of classes, 1: central; more: random ones, averaged

    config.probe = ConfigDict()
    config.probe.num_labels = 4000  # images that probes learn from, class-balanced; all if fewer
    config.probe.grid = 0  # activations averaged over grid x grid cells to classify; 0: whole
    config.probe.l2 = (1e-2, 1e-3, 1e-4)  # penalties of softmax regression to choose from
    config.probe.parameters = 100_000  # of each stack of deconvolutions, as near as widths allow
    config.probe.epochs = 20  # in which a stack learns
    config.probe.batch_size = 64  # images a step
    config.probe.learning_rate = 1e-3  # of Adam at first; it falls to 0 along a cosine

    config.run = ConfigDict()
    config.run.steps_per_dispatch = 20  # steps between two looks at losses and signals
    config.run.eval_every = 10.0  # epochs
    config.run.checkpoint_every = 1.0  # epochs
    config.run.keep_checkpoints = 2  # the latest ones; the best one is kept besides
    config.run.eval_batch_size = 256  # images
    config.run.monitor_images = 1000  # that pre-training is probed on, and at least learns from
    config.run.profile_steps = ()  # (a, b): trace the steps behind a, up to b, to WORKDIR/profile
    config.run.stall_seconds = 120.0  # at least, before what takes ten times as long as usual hangs
    config.run.replicas = 1  # groups of devices, each with the whole state of the optimiser
    config.run.shard_optimizer = False  # split that state over a replica's devices (ZeRO-1)
    return config.lock()


def _training(
    learning_rate: float, epochs: int, milestones: tuple[int, ...], factor: float
) -> ConfigDict:
    training = ConfigDict()
    training.batch_size = 128  # images a step, over all devices
    training.per_device_batch_size = 0  # images a device takes at a time; 0: see accumulate
    training.accumulate = 1  # micro-batches that a batch is cut into to save memory
    training.epochs = epochs  # passes over the training images
    training.optimizer = "adam"  # adam, adamw, or sgd with momentum
    training.learning_rate = learning_rate  # at first
    training.momentum = 0.9  # of sgd alone
    training.weight_decay = 0.0  # of adamw, apart from the gradient, kernels; of sgd, in it, all
    training.warmup_epochs = 0.0  # in which the rate rises from 0, behind those of the head alone
    training.schedule = "milestones"  # or cosine: to 0 at the end, milestones aside
    training.ema_decay = 0.0  # a step, of an average of the weights to measure; 0: none
    training.milestones = milestones  # epochs at which the rate is multiplied ...
    training.milestone_factor = factor  # ... by this
    training.plateau_patience = 0  # epochs without a lower loss before ...; 0 for never
    training.plateau_factor = 0.1  # ... the rate is multiplied by this (section 4)
    return training


def load_config(path: str, overrides: Sequence[str] = ()) -> ConfigDict:
    """Loads a configuration file and applies `--config.key=value` overrides.

    Args:
        path: of a Python file with `get_config(arg: str)`, or the name of one that comes with the
            package (`digits`), either with `:ARG` behind it.
        overrides: as they stand on the command line.

    Returns:
        The configuration, with every field.

    Raises:
        UserError: no such file, no such key, or a value of the wrong type.
    """
    name, _, arg = path.partition(":")
    return apply_overrides(_call_get_config(_find(name), arg), overrides)


def apply_overrides(config: ConfigDict, overrides: Sequence[str]) -> ConfigDict:
    """Sets fields of a configuration, in place, as `--config.key=value` says.

    Raises:
        UserError: no such key, or a value of the wrong type.
    """
    fields = dict(flat_items(config))
    for override in overrides:
        _check_key(_split(override)[0], list(fields))
    # All are defined at once, as each time the whole configuration is written as YAML.
    values = flags.FlagValues()
    words = ["symskip", *overrides]
    config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=words)
    for override in overrides:
        try:
            values(["symskip", override])
        except flags.Error as error:
            key, value = _split(override)
            kind = type(fields[key]).__name__
            raise UserError(
                f"config key {key}={value} must be of type {kind}, like {fields[key]!r}"
            ) from error
    return config


def _split(override: str) -> tuple[str, str]:
    key, _, value = override.removeprefix("--config.").partition("=")
    return key, value


def config_from_flat(fields: dict[str, Any]) -> ConfigDict:
    """Returns the configuration that `flat` was taken of.

    Raises:
        UserError: it was another version's, with a field that there is no more.
    """
    config = base_config()
    for key, value in fields.items():
        _check_key(key, list(flat(config)))
        section, _, name = key.rpartition(".")
        node = config[section] if section else config
        node[name] = tuple(value) if isinstance(value, list) else value
    return config


def check_argument(arg: str, known: Sequence[str]) -> None:
    """Checks what stands behind `FILE:` on the command line, for a `get_config`.

    Args:
        arg: what stands there, or nothing.
        known: what may.

    Raises:
        UserError: it is neither empty nor one of `known`.
    """
    if arg and arg not in known:
        takes = f"one of {', '.join(known)}" if known else "none"
        raise UserError(f"config argument {arg!r} is unknown; this config takes {takes}")


def _find(name: str) -> Path:
    if Path(name).is_file():
        return Path(name)
    package = Path(__file__).parent
    # Beside the modules in a wheel, beside the package in a checkout.
    folders = [package / "configs", package.parent / "configs"]
    for folder in folders:
        if (folder / f"{name}.py").is_file():
            return folder / f"{name}.py"
    known = sorted({p.stem for folder in folders for p in folder.glob("*.py")})
    raise UserError(
        f"no config file {name}; give a path, or one of {', '.join(known)}{_nearest(name, known)}"
    )


def _call_get_config(path: Path, arg: str) -> ConfigDict:
    spec = importlib.util.spec_from_file_location(f"symskip_config_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"config file {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        if not hasattr(module, "get_config"):
            raise UserError(f"config file {path} defines no get_config(arg)")
        config = module.get_config(arg)
    except UserError:
        raise
    # The file is code: it may stumble over anything.
    except Exception as error:
        raise UserError(f"config file {path}: {_describe(error, path)}") from error
    if not isinstance(config, ConfigDict):
        raise UserError(f"config file {path}: get_config returns {config!r}, not a ConfigDict")
    known = list(flat(base_config()))
    for key in flat(config):
        _check_key(key, known, f" in config file {path}")
    missing = set(known) - set(flat(config))
    if missing:
        raise UserError(
            f"config file {path} leaves out {', '.join(sorted(missing))}; start from base_config()"
        )
    return config


def _describe(error: Exception, path: Path) -> str:
    """Returns what went wrong in a file, and on which line, in one line."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    where = f"line {lines[-1]}: " if lines else ""
    unknown = re.search(r'Key "(\w+)" does not exist', str(error))
    if unknown:
        names = {name for key in flat(base_config()) for name in key.split(".")}
        return f"{where}unknown config key {unknown[1]}{_nearest(unknown[1], sorted(names))}"
    return f"{where}{type(error).__name__}: {' '.join(str(error).split())}"


def _check_key(key: str, known: Sequence[str], where: str = "") -> None:
    if key not in known:
        raise UserError(f"unknown config key {key}{where}{_nearest(key, known)}")


def _nearest(name: str, known: Sequence[str]) -> str:
    return did_you_mean(name, known, always=True)


def flat_items(config: ConfigDict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields (dotted key, value) of every field."""
    for key, value in config.items():
        if isinstance(value, ConfigDict):
            yield from flat_items(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def flat(config: ConfigDict) -> dict[str, Any]:
    """Returns the fields by dotted key, as JSON would give them back."""
    return json.loads(json.dumps(dict(flat_items(config))))
