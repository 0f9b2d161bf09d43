"""`symskip finetune`: learn from labels, from a pre-trained network or from scratch."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from symskip_jax.config import config_from_flat
from symskip_jax.data.base import UNLABELLED
from symskip_jax.data.splits import draw_labelled, indices_hash
from symskip_jax.errors import UserError
from symskip_jax.experiments import setup
from symskip_jax.experiments.checks import check_config, check_head_epochs
from symskip_jax.experiments.evaluate import skip_strength
from symskip_jax.experiments.inputs import Input, load_train_and_test
from symskip_jax.experiments.origin import origin_of
from symskip_jax.experiments.running import make_optimizer, make_plan, make_schedule, run_training
from symskip_jax.experiments.tasks import Task, make_task, with_labels
from symskip_jax.training.averaging import (
    averaged_shapes,
    averaged_variables,
    averaging,
    start_average,
)
from symskip_jax.training.checkpoints import Restored, load_variables
from symskip_jax.training.dispatch import Advance
from symskip_jax.training.homes import home_of
from symskip_jax.training.mesh import make_sharded, put_like, state_shardings
from symskip_jax.training.processes import together
from symskip_jax.training.state import TrainState, init_state
from symskip_jax.training.steps import finetune_step, head_step
from symskip_jax.training.stops import StopRequests
from symskip_jax.training.timing import Timing
from symskip_jax.transforms import FinetuneTransform, Normalization


def finetune(config: ConfigDict, workdir: Path, init: Path | None = None) -> TrainState:
    """Fine-tunes the network of a configuration and returns its final state.

    The labels decide what it learns: the class of an image, its several classes, or those of its
    pixels; see `symskip_jax.experiments.tasks`. Images without one are left out.

    Args:
        config: all of it; `config.finetune` is the recipe.
        workdir: where everything is written, a folder or on Cloud Storage; a run already there is
            resumed.
        init: workdir of the pre-training to start from; None to start from scratch.

    Raises:
        UserError: something in the configuration, the data, the folder or the checkpoint is wrong.
        NonFiniteLossError, StoppedError: see `symskip_jax.training.loop.fit`.
    """
    check_config(config)
    if init is not None:
        check_head_epochs(config)
    with together():
        mesh = setup.make_mesh(config)
        groups = setup.batch_norm_groups(config, mesh.size)
        found = load_train_and_test(config, config.data.train_split)
        everything, test = map(with_labels, found)
        task = make_task(config, everything)
        train, drawn = draw(config, everything)
        channels = train.channels
        start = None if init is None else load_pretrained(init, config, task, channels)
    model = task.model.clone(batch_norm_groups=groups)
    normalization = (
        everything.normalization()
        if start is None
        else Normalization.from_facts(start.meta["normalization"])
    )
    recipe = config.finetune
    steps_per_epoch, accumulate = setup.make_batches(recipe, "finetune", len(train), mesh.size)
    head_steps = recipe.head_epochs * steps_per_epoch if start is not None else 0
    schedule = make_schedule(recipe, steps_per_epoch, head_steps)
    optimizer = make_optimizer(recipe, schedule, steps_per_epoch, head_steps)
    optimizer = setup.spread_optimizer(config, optimizer, mesh)
    transform = FinetuneTransform(
        setup.make_finetune_augmentation(config, normalization),
        setup.make_corruption(config, normalization),
        recipe.corruption_probability,
    )
    crop, decay = tuple(config.data.crop), recipe.ema_decay

    def make(seed: Any) -> TrainState:
        return init_state(model, optimizer, seed, (*crop, channels))

    sharded = config.run.shard_optimizer
    shardings = state_shardings(averaged_shapes(make, decay), mesh, sharded)
    stops, timing = StopRequests(), Timing()
    plan = make_plan(config, recipe, steps_per_epoch)
    trainer = train.trainer(
        mesh,
        batch_size=recipe.batch_size,
        seed=config.seed,
        total_steps=plan.total_steps,
        steps_per_dispatch=config.run.steps_per_dispatch,
        timing=timing,
        shardings=shardings,
    )

    def compiled(step: Any) -> Advance:
        bound = functools.partial(
            step,
            model=model,
            optimizer=optimizer,
            transform=transform,
            normalization=normalization,
            task_loss=task.loss,
            transform_labels=task.transform_labels,
            accumulate=accumulate,
        )
        return trainer(averaging(bound, decay))

    all_layers = compiled(finetune_step)
    head_alone = compiled(head_step) if head_steps else all_layers
    measure = task.evaluator(normalization, test.spread(mesh, stops))

    def fresh_state() -> TrainState:
        state = make_sharded(make, config.seed, mesh, sharded)
        if start is not None:
            state = with_pretrained(state, start, recipe.init_parts.split("_"))
        return start_average(state, decay)

    return run_training(
        home=home_of(workdir),
        config=setup.with_accumulate(config, "finetune", accumulate),
        identity={
            "verb": "finetune",
            "init": "scratch" if init is None else str(init),
            "init_step": None if start is None else int(start.state["step"]),
            "data": train.fingerprint(),
            "input": train.how,
            "labels": drawn,
            "batch_norm_groups": groups,
        },
        meta={
            "task": task.name,
            "spec": setup.spec_facts(model.spec),
            "channels": channels,
            "class_names": list(task.class_names),
            "normalization": normalization._asdict(),
            "num_labels": int(train.can_be_drawn().sum()),
            "origin": None if start is None else origin_of(start.meta),
        },
        plan=plan,
        fresh_state=fresh_state,
        advance=lambda step: head_alone if step < head_steps else all_layers,
        evaluate=lambda state: measure(averaged_variables(state)),
        schedule=schedule,
        best=task.best,
        stops=stops,
        timing=timing,
        notes=[train.describe(), test.describe()],
    )


def draw(config: ConfigDict, data: Input) -> tuple[Input, str]:
    """Returns the labelled images that `config.data` asks for, and a hash of which they are."""
    if config.data.num_labels == 0:
        return data, "all"
    labels = np.where(data.can_be_drawn(), data.labels(), UNLABELLED)
    indices = draw_labelled(labels, config.data.num_labels, config.data.labels_seed)
    return data.take(indices), indices_hash(indices)


def load_pretrained(init: Path, config: ConfigDict, task: Task, channels: int) -> Restored:
    """Reads a pre-trained network.

    Raises:
        UserError: there is none, it is another network's, it lacks what is to be taken of it, or
            its decoder has learnt to do without the skips that it would get back.
    """
    restored = load_variables(init)
    theirs = restored.meta["spec"], restored.meta["channels"]
    ours = setup.spec_facts(task.model.spec), channels
    if theirs != ours:
        raise UserError(
            f"--init {init} holds another network: {describe(*theirs)} there, "
            f"{describe(*ours)} here; give both commands the same --config (what stands behind its "
            "colon, too) and config.model"
        )
    if config.finetune.init_parts == "encoder":
        return restored
    if "decoder" not in restored.state["params"]:
        raise UserError(
            f"--init {init} holds no decoder: name a pre-training, or set "
            "--config.finetune.init_parts=encoder"
        )
    trained = setup.autoencoder_facts(config_from_flat(restored.meta["config"]))
    for name, value in setup.autoencoder_facts(config).items():
        if value != trained[name]:
            raise UserError(
                f"--init {init} was trained with model.{name}={trained[name]!r}, and its decoder "
                f"is to go on with {value!r}; give the same to both commands"
            )
    strength = skip_strength(restored)
    if strength is not None and strength != 1:
        raise UserError(
            f"--init {init} was trained with pretrain.skip_fade, and its skips have faded to "
            f"{float(strength):.2g}: its decoder does not know them whole, as it would get them; "
            "pre-train with pretrain.skip_fade=(), or set --config.finetune.init_parts=encoder"
        )
    return restored


def describe(spec: dict[str, Any], channels: int) -> str:
    """Returns a network in a few words."""
    widths = "-".join(str(width) for _, _, width in spec["layers"])
    return f"{spec['name']} on {channels} channels with widths {widths}"


def with_pretrained(state: TrainState, start: Restored, parts: Sequence[str]) -> TrainState:
    """Returns a state with the pre-trained layers that both networks have in some parts.

    The averaged ones if that was asked for.
    """
    trained = setup.variables_of(start)

    def put(fresh: Any, learnt: Any) -> Any:
        return jax.tree.map(lambda a, b: put_like(b, a), fresh, learnt)

    def merged(ours: Any, theirs: Any) -> Any:
        return ours | {
            part: {
                layer: put(fresh, theirs[part][layer]) if layer in theirs[part] else fresh
                for layer, fresh in ours[part].items()
            }
            for part in parts
            if part in ours  # without BatchNorm there are no statistics
        }

    return dataclasses.replace(
        state,
        params=merged(state.params, trained["params"]),
        batch_stats=merged(state.batch_stats, trained["batch_stats"]),
    )
