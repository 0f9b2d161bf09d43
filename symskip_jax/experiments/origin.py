"""What a checkpoint's network has learnt from, and with which settings, as the run recorded it."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from symskip_jax.config import config_from_flat

_TRAININGS = {"pretrain": "a pre-training", "finetune": "a fine-tuning"}
_TITLES = {"pretrain": "Pre-training", "finetune": "Earlier fine-tuning"}
# What decides nothing of the weights: when and how they are measured, where images are.
_OF_NONE = (
    *("run.", "probe.", "evaluation."),
    *("data.data_dir", "data.threads", "data.workers", "data.read_retries"),
)
# What the other training reads alone, which may have had other values.
_OF_FINETUNE = ("finetune.", "data.num_labels", "data.labels_seed", "model.dropout")
_OF_PRETRAIN = ("pretrain.", "data.pretrain_")
_OF_DECODER = ("model.skip", "model.bottleneck")
# What decides beside the configuration.
_FACTS = ("batch_norm_groups", "input")


class Training(NamedTuple):
    """One that a network went through before the run it is of.

    Attributes:
        title: what kind it was.
        how: a sentence: on which data, or that this was not recorded.
        settings: as `settings_of` returns them; None where they were not recorded.
    """

    title: str
    how: str
    settings: dict[str, Any] | None


def origin_of(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a run that starts from a checkpoint records of it, as JSON holds it.

    Args:
        meta: of the checkpoint that it starts from.

    Returns:
        `verb`, pretrain or finetune; `data`, as its configuration names it; `settings`. Of a
        fine-tuning also `num_labels`, 0 for all, and its own `init_step` and `origin` where it
        recorded them.
    """
    record = {"data": _data_of(meta), "settings": settings_of(meta)}
    if not _has_labels(meta):
        return {"verb": "pretrain", **record}
    count = meta.get("num_labels") or config_from_flat(meta["config"]).data.num_labels
    start = {key: meta[key] for key in ("init_step", "origin") if key in meta}
    return {"verb": "finetune", **record, "num_labels": count, **start}


def settings_of(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of a checkpoint's run, without those that its training did not read.

    Returns:
        Fields of the configuration by dotted name, and, where the run recorded them,
        `batch_norm_groups`, the parts of a batch that BatchNorm normalises each by itself, and
        `input`, how images reached the device; as JSON holds them.
    """
    config = meta["config"]
    idle = _OF_NONE
    if not _has_labels(meta):
        idle += _OF_FINETUNE
    else:
        idle += _OF_PRETRAIN
        if config_from_flat(config).finetune.corruption_probability == 0:
            idle += ("corruption.",)
        if meta.get("task") != "segmentation":
            idle += _OF_DECODER
    settings = {key: value for key, value in config.items() if not key.startswith(idle)}
    return settings | {key: meta[key] for key in _FACTS if key in meta}


def how_learnt(meta: Mapping[str, Any]) -> str:
    """Returns a sentence: on which data, with how many labels, and what the run started from.

    Args:
        meta: of a checkpoint; what an older run did not record is said to be unknown.

    Raises:
        KeyError, TypeError, ValueError: the meta is of a file that somebody changed.
    """
    return _sentence(origin_of(meta))


def trainings_before(meta: Mapping[str, Any]) -> list[Training]:
    """Returns the trainings that a checkpoint's run built upon, the latest first.

    Args:
        meta: of a checkpoint; what an older run did not record is said to be unknown.

    Raises:
        KeyError, TypeError, ValueError: the meta is of a file that somebody changed.
    """
    found = []
    record = origin_of(meta)
    while record["verb"] == "finetune":
        if "init_step" not in record:
            how = "Whether there was one was not recorded."
            return [*found, Training(_TITLES["pretrain"], how, None)]
        if record["init_step"] is None:
            break
        record = record.get("origin")
        if record is None:
            how = "The data and the settings of the run that it started from were not recorded."
            return [*found, Training(_TITLES["pretrain"], how, None)]
        settings = record.get("settings")
        if settings is None:
            how = f"On `{record['data']}`; its settings were not recorded."
        else:
            how = _sentence(record)
            _check_names(settings)
        found.append(Training(_TITLES[record["verb"]], how, settings))
    return found


def _sentence(record: Mapping[str, Any]) -> str:
    data = f"`{record['data']}`"
    if record["verb"] == "pretrain":
        return f"Trained on {data}."
    count = record["num_labels"]
    labels = f"{count:,} label{'s' * (count > 1)} of {data}" if count else f"all labels of {data}"
    if "init_step" not in record:
        return f"Trained with {labels}, from a start that was not recorded."
    if record["init_step"] is None:
        return f"Trained from scratch with {labels}."
    origin = record.get("origin")
    start = "a run whose data was not recorded"
    if origin is not None:
        start = f"{_TRAININGS[origin['verb']]} on `{origin['data']}`"
    return f"Fine-tuned from {start}, step {record['init_step']:,}, with {labels}."


def _check_names(settings: Mapping[str, Any]) -> None:
    """Checks that a card can show settings, a line each.

    Raises:
        TypeError, ValueError: it cannot.
    """
    if not isinstance(settings, Mapping):
        raise TypeError(f"origin has settings {settings!r}")
    for name in settings:
        if not re.fullmatch(r"[\w.]+", name):
            raise ValueError(f"origin has a setting {name!r}")


def _has_labels(meta: Mapping[str, Any]) -> bool:
    """Whether a run learnt from labels; of an encoder that was imported the verb does not tell."""
    return "class_names" in meta


def _data_of(meta: Mapping[str, Any]) -> str:
    data = config_from_flat(meta["config"]).data
    if _has_labels(meta):
        return f"{data.name}, {data.train_split}"
    return f"{data.pretrain_name or data.name}, {data.pretrain_split or data.train_split}"
