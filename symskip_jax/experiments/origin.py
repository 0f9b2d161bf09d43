"""What a checkpoint's network has learnt from, as the run recorded it."""

from collections.abc import Mapping
from typing import Any

from symskip_jax.config import config_from_flat

_TRAININGS = {"pretrain": "a pre-training", "finetune": "a fine-tuning"}


def origin_of(meta: Mapping[str, Any]) -> dict[str, str]:
    """Returns what a run that starts from a checkpoint records of it, as JSON holds it.

    Args:
        meta: of the checkpoint that it starts from.

    Returns:
        `verb`, pretrain or finetune, and `data`, as its configuration names it.
    """
    verb = "finetune" if _has_labels(meta) else "pretrain"
    return {"verb": verb, "data": _data_of(meta)}


def how_learnt(meta: Mapping[str, Any]) -> str:
    """Returns a sentence: on which data, with how many labels, and what the run started from.

    Args:
        meta: of a checkpoint; what an older run did not record is said to be unknown.

    Raises:
        KeyError, TypeError, ValueError: the meta is of a file that somebody changed.
    """
    data = f"`{_data_of(meta)}`"
    if not _has_labels(meta):
        return f"Trained on {data}."
    count = meta.get("num_labels") or config_from_flat(meta["config"]).data.num_labels
    labels = f"{count:,} label{'s' * (count > 1)} of {data}" if count else f"all labels of {data}"
    if "init_step" not in meta:
        return f"Trained with {labels}, from a start that was not recorded."
    if meta["init_step"] is None:
        return f"Trained from scratch with {labels}."
    origin = meta.get("origin")
    start = "a run whose data was not recorded"
    if origin is not None:
        start = f"{_TRAININGS[origin['verb']]} on `{origin['data']}`"
    return f"Fine-tuned from {start}, step {meta['init_step']:,}, with {labels}."


def _has_labels(meta: Mapping[str, Any]) -> bool:
    """Whether a run learnt from labels; of an encoder that was imported the verb does not tell."""
    return "class_names" in meta


def _data_of(meta: Mapping[str, Any]) -> str:
    data = config_from_flat(meta["config"]).data
    if _has_labels(meta):
        return f"{data.name}, {data.train_split}"
    return f"{data.pretrain_name or data.name}, {data.pretrain_split or data.train_split}"
