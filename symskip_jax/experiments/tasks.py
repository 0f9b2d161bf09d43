"""What fine-tuning learns, by the kind of the labels: network, loss and figures of each task."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from symskip_jax.config import flat
from symskip_jax.data.base import UNLABELLED
from symskip_jax.data.resident import check_labels
from symskip_jax.data.voc import COARSE_CLASSES
from symskip_jax.errors import UserError
from symskip_jax.evaluation.classification import classification_evaluator
from symskip_jax.evaluation.multi_label import multi_label_evaluator
from symskip_jax.evaluation.segmentation import segmentation_evaluator
from symskip_jax.experiments import setup
from symskip_jax.experiments.inputs import Input
from symskip_jax.models import Classifier, Segmenter
from symskip_jax.training.losses import (
    TaskLoss,
    classification_loss,
    multi_label_loss,
    segmentation_loss,
)
from symskip_jax.training.processes import say
from symskip_jax.training.steps import LabelTransform, keep_labels
from symskip_jax.transforms import MaskTransform, Normalization

# Variables of the network -> figures by name, `loss` among them.
Evaluate = Callable[[Any], dict[str, float]]


@dataclasses.dataclass(frozen=True)
class Task:
    """What is learnt from labels, and how it is measured.

    Attributes:
        name: classification, multi_label or segmentation, as checkpoints have it.
        class_names: of the labels.
        model: the network.
        loss: that the steps minimise.
        transform_labels: what crops and flips do to a label.
        best: the figure, higher is better, by which the best checkpoint is kept.
        evaluator: makes what measures the network on a split.
    """

    name: str
    class_names: tuple[str, ...]
    model: Classifier | Segmenter
    loss: TaskLoss
    transform_labels: LabelTransform
    best: str
    evaluator: Callable[[Normalization, Input], Evaluate]


def make_task(config: ConfigDict, data: Input) -> Task:
    """Returns the task that the labels of some data ask for.

    Raises:
        UserError: the data has no labels, or the configuration asks for what the task has not.
    """
    class_names = require_labels(data)
    tasks = {"class": _classification, "classes": _multi_label, "mask": _segmentation}
    return tasks[data.source.features.label_kind](config, class_names)


def require_labels(data: Input) -> tuple[str, ...]:
    """Returns the classes of labelled data.

    Raises:
        UserError: no image has a label.
    """
    if data.source.class_names is None:
        raise _unlabelled(data)
    return data.source.class_names


def with_labels(data: Input) -> Input:
    """Returns the images that have a label, and says how many are left out for want of one.

    Raises:
        UserError: no image has one, or one is no class of the dataset.
    """
    require_labels(data)
    if data.source.features.label_kind != "class":
        return data
    labels_n = data.labels()
    check_labels(data.source, labels_n)
    is_labelled_n = labels_n != UNLABELLED
    if is_labelled_n.all():
        return data
    if not is_labelled_n.any():
        raise _unlabelled(data)
    count, first = int((~is_labelled_n).sum()), int(is_labelled_n.argmin())
    say(
        f"{data.name}: {count:,} of {len(data):,} images have no label and are left out, "
        f"the first is {data.source.describe(first)}"
    )
    return data.take(np.flatnonzero(is_labelled_n))


def _unlabelled(data: Input) -> UserError:
    mend = "set --config.data.name to data that has labels"
    if data.name.startswith("folder:"):
        mend = "put those of each class into a sub-folder, or list them in labels.csv (file,label)"
        if data.source.class_names:
            mend = (
                "those that have one are in another split: label two or more of each class, or "
                "name the split of each image in labels.csv (file,label,split)"
            )
    return UserError(f"{data.name}: none of {len(data):,} images has a label; {mend}")


def _classification(config: ConfigDict, class_names: tuple[str, ...]) -> Task:
    """One class an image."""
    _require(config, "finetune.init_parts", "encoder", "only masks keep the decoder")
    model = setup.make_classifier(config, len(class_names))
    return Task(
        name="classification",
        class_names=class_names,
        model=model,
        loss=functools.partial(
            classification_loss, label_smoothing=config.finetune.label_smoothing
        ),
        transform_labels=keep_labels,
        best="accuracy",
        evaluator=lambda normalization, data: classification_evaluator(
            model, normalization, tuple(config.data.crop), _passes(config, data)
        ),
    )


def _multi_label(config: ConfigDict, class_names: tuple[str, ...]) -> Task:
    """Several classes an image (section 5.4.1)."""
    _require(config, "finetune.init_parts", "encoder", "only masks keep the decoder")
    several = "the images have several classes each"
    _require(config, "data.num_labels", 0, several)
    _require(config, "finetune.label_smoothing", 0.0, several)
    model = setup.make_classifier(config, len(class_names))
    groups = {group: names for group, names in COARSE_CLASSES.items() if {*names} <= {*class_names}}
    return Task(
        name="multi_label",
        class_names=class_names,
        model=model,
        loss=multi_label_loss,
        transform_labels=keep_labels,
        best="mean_average_precision",
        evaluator=lambda normalization, data: multi_label_evaluator(
            model,
            normalization,
            tuple(config.data.crop),
            _passes(config, data),
            class_names=class_names,
            groups=groups,
        ),
    )


def _segmentation(config: ConfigDict, class_names: tuple[str, ...]) -> Task:
    """A class for each pixel (section 5.4.2)."""
    masks = "the labels are masks"
    _require(config, "data.num_labels", 0, masks)
    _require(config, "finetune.head_epochs", 0, masks)
    _require(config, "finetune.label_smoothing", 0.0, masks)
    _require(config, "finetune.augmentation", "none", masks)
    _require(config, "evaluation.crops", 1, f"{masks} and measured over whole images")
    model = setup.make_segmenter(config, len(class_names))
    return Task(
        name="segmentation",
        class_names=class_names,
        model=model,
        loss=segmentation_loss,
        transform_labels=MaskTransform(setup.make_augmentation(config)),
        best="mean_iu",
        evaluator=lambda normalization, data: segmentation_evaluator(
            model,
            normalization,
            data.examples,
            batch_size=config.run.eval_batch_size,
            class_names=class_names,
        ),
    )


def _passes(config: ConfigDict, data: Input) -> list[Callable[[], Any]]:
    return [*data.passes(config.run.eval_batch_size, config.evaluation.crops)]


def _require(config: ConfigDict, key: str, value: Any, why: str) -> None:
    found = flat(config)[key]
    if found != value:
        raise UserError(f"config key {key}={found!r} cannot be, as {why}: set {value!r}")
