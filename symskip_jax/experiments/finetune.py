"""`symskip finetune`: learn to classify, from a pre-trained encoder or from scratch."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from symskip_jax.data.base import UNLABELLED
from symskip_jax.data.resident import check_labels
from symskip_jax.data.splits import draw_labelled, indices_hash
from symskip_jax.errors import UserError
from symskip_jax.evaluation.classification import classification_evaluator
from symskip_jax.experiments import setup
from symskip_jax.experiments.checks import check_config
from symskip_jax.experiments.inputs import Input, load_train_and_test
from symskip_jax.experiments.running import make_adam, make_plan, make_schedule, run_training
from symskip_jax.training.checkpoints import Restored, load_variables
from symskip_jax.training.dispatch import Advance
from symskip_jax.training.mesh import data_mesh, replicated
from symskip_jax.training.state import TrainState, init_state
from symskip_jax.training.steps import finetune_step, head_step
from symskip_jax.transforms import FinetuneTransform, Normalization


def finetune(config: ConfigDict, workdir: Path, init: Path | None = None) -> TrainState:
    """Fine-tunes the classifier of a configuration and returns its final state.

    Args:
        config: all of it; `config.finetune` is the recipe.
        workdir: where everything is written; a run already there is resumed.
        init: workdir of the pre-training whose encoder to start from; None to start from scratch.

    Raises:
        UserError: something in the configuration, the data, the folder or the checkpoint is wrong.
        NonFiniteLossError, StoppedError: see `symskip_jax.training.loop.fit`.
    """
    check_config(config)
    everything, test = load_train_and_test(config, config.data.train_split)
    class_names = require_labels(everything)
    require_labels(test)
    train, drawn = draw(config, everything)
    model = setup.make_classifier(config, len(class_names))
    channels = train.channels
    start = None if init is None else load_encoder(init, setup.spec_facts(model.spec), channels)
    normalization = (
        everything.normalization()
        if start is None
        else Normalization.from_facts(start.meta["normalization"])
    )
    recipe = config.finetune
    if start is not None and recipe.head_epochs > recipe.epochs:
        raise UserError(
            f"config key finetune.head_epochs={recipe.head_epochs} must be at most "
            f"finetune.epochs={recipe.epochs}, the epochs in all"
        )
    steps_per_epoch = setup.check_batches(recipe, "finetune", len(train))
    schedule = make_schedule(recipe, steps_per_epoch)
    head_steps = recipe.head_epochs * steps_per_epoch if start is not None else 0
    optimizer = make_adam(recipe, schedule, steps_per_epoch, head_steps)
    transform = FinetuneTransform(
        setup.make_augmentation(config),
        setup.make_corruption(config, normalization),
        recipe.corruption_probability,
    )
    mesh = data_mesh()
    plan = make_plan(config, recipe, steps_per_epoch)
    trainer = train.trainer(
        mesh,
        batch_size=recipe.batch_size,
        seed=config.seed,
        total_steps=plan.total_steps,
        steps_per_dispatch=config.run.steps_per_dispatch,
    )

    def compiled(step: Any) -> Advance:
        bound = functools.partial(
            step,
            model=model,
            optimizer=optimizer,
            transform=transform,
            normalization=normalization,
            accumulate=recipe.accumulate,
        )
        return trainer(bound)

    all_layers = compiled(finetune_step)
    head_alone = compiled(head_step) if head_steps else all_layers
    crop = tuple(config.data.crop)
    measure = classification_evaluator(
        model,
        normalization,
        crop,
        functools.partial(test.parts, config.run.eval_batch_size),
    )

    def fresh_state() -> TrainState:
        shape = (*crop, channels)
        state = jax.jit(
            lambda: init_state(model, optimizer, config.seed, shape), out_shardings=replicated(mesh)
        )()
        return state if start is None else with_encoder(state, start)

    return run_training(
        workdir=workdir,
        config=config,
        identity={
            "verb": "finetune",
            "init": "scratch" if init is None else str(init),
            "init_step": None if start is None else int(start.state["step"]),
            "data": train.fingerprint(),
            "input": train.how,
            "labels": drawn,
        },
        meta={
            "spec": setup.spec_facts(model.spec),
            "channels": channels,
            "class_names": list(class_names),
            "normalization": normalization._asdict(),
        },
        plan=plan,
        fresh_state=fresh_state,
        advance=lambda step: head_alone if step < head_steps else all_layers,
        evaluate=lambda state: measure(state.variables),
        schedule=schedule,
        best="accuracy",
        notes=[train.describe(), test.describe()],
    )


def require_labels(data: Input) -> tuple[str, ...]:
    """Returns the classes of labelled data.

    Raises:
        UserError: an image has no label, more than one, or one that is no class of the dataset.
    """
    kind, class_names = data.source.features.label_kind, data.source.class_names
    if kind in ("classes", "mask"):
        has = "several classes an image" if kind == "classes" else "a class for each pixel"
        raise UserError(f"{data.name} has {has}, and fine-tuning takes one class an image so far")
    unlabelled = f"{data.name} has images without a label, and every one needs its own here"
    if class_names is None:
        raise UserError(unlabelled)
    labels_n = data.labels()
    check_labels(data.source, labels_n)
    if (labels_n == UNLABELLED).any():
        raise UserError(unlabelled)
    return class_names


def draw(config: ConfigDict, data: Input) -> tuple[Input, str]:
    """Returns the labelled images that `config.data` asks for, and a hash of which they are."""
    if config.data.num_labels == 0:
        return data, "all"
    labels = np.where(data.can_be_drawn(), data.labels(), UNLABELLED)
    indices = draw_labelled(labels, config.data.num_labels, config.data.labels_seed)
    return data.take(indices), indices_hash(indices)


def load_encoder(init: Path, spec: dict[str, Any], channels: int) -> Restored:
    """Reads a pre-trained encoder.

    Raises:
        UserError: there is none, or it is another network's.
    """
    restored = load_variables(init)
    theirs, ours = (restored.meta["spec"], restored.meta["channels"]), (spec, channels)
    if theirs != ours:
        raise UserError(
            f"--init {init} holds another network: {describe(*theirs)} there, "
            f"{describe(*ours)} here; give the same config.model to both commands"
        )
    return restored


def describe(spec: dict[str, Any], channels: int) -> str:
    """Returns a network in a few words."""
    widths = "-".join(str(width) for _, _, width in spec["layers"])
    return f"{spec['name']} on {channels} channels with widths {widths}"


def with_encoder(state: TrainState, start: Restored) -> TrainState:
    """Returns a state whose encoder is the pre-trained one."""

    def put(fresh: Any, trained: Any) -> Any:
        return jax.tree.map(
            lambda a, b: jax.device_put(np.asarray(b, a.dtype), a.sharding), fresh, trained
        )

    return dataclasses.replace(
        state,
        params={
            **state.params,
            "encoder": put(state.params["encoder"], start.state["params"]["encoder"]),
        },
        batch_stats={
            # None in a network without BatchNorm.
            name: put(fresh, start.state["batch_stats"][name])
            for name, fresh in state.batch_stats.items()
        },
    )
