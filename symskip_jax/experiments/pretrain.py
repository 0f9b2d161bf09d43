"""`symskip pretrain`: learn to reconstruct images, without labels."""

import functools
import logging
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from symskip_jax.evaluation.reconstruction import Rebuilt, rebuilder, reconstruction_evaluator
from symskip_jax.experiments import setup
from symskip_jax.experiments.checks import check_config
from symskip_jax.experiments.inputs import load_train_and_test
from symskip_jax.experiments.monitoring import make_monitor
from symskip_jax.experiments.objective import check_objective, make_objective
from symskip_jax.experiments.running import make_optimizer, make_plan, make_schedule, run_training
from symskip_jax.models import AutoEncoder
from symskip_jax.training.averaging import (
    averaged_shapes,
    averaged_variables,
    averaging,
    start_average,
)
from symskip_jax.training.homes import home_of
from symskip_jax.training.mesh import local_copy, make_sharded, state_shardings
from symskip_jax.training.processes import is_first, together
from symskip_jax.training.skips import SkipSchedule
from symskip_jax.training.state import TrainState
from symskip_jax.training.stops import StopRequests
from symskip_jax.training.timing import Timing
from symskip_jax.transforms import Normalization, PretrainTransform

log = logging.getLogger(__name__)

SHEET_IMAGES = 8


def pretrain(config: ConfigDict, workdir: Path) -> TrainState:
    """Pre-trains the auto-encoder of a configuration and returns its final state.

    Args:
        config: all of it; `config.pretrain` is the recipe.
        workdir: where everything is written, a folder or on Cloud Storage; a run already there is
            resumed.

    Raises:
        UserError: something in the configuration, the data or the folder is wrong.
        NonFiniteLossError, StoppedError: see `symskip_jax.training.loop.fit`.
    """
    check_config(config)
    check_objective(config)
    home = home_of(workdir)
    with together():
        mesh = setup.make_mesh(config)
        groups = setup.batch_norm_groups(config, mesh.size)
        train, test = load_train_and_test(
            config, config.data.pretrain_split or config.data.train_split, config.data.pretrain_name
        )
        steps_per_epoch, accumulate = setup.make_batches(
            config.pretrain, "pretrain", len(train), mesh.size
        )
    normalization = train.normalization()
    corruption = setup.make_corruption(config, normalization)
    model = setup.make_autoencoder(config, train.channels).clone(batch_norm_groups=groups)
    schedule = make_schedule(config.pretrain, steps_per_epoch)
    optimizer = make_optimizer(config.pretrain, schedule, steps_per_epoch)
    optimizer = setup.spread_optimizer(config, optimizer, mesh)
    objective = make_objective(config, model, optimizer, steps_per_epoch)
    step = functools.partial(
        objective.step,
        model=model,
        optimizer=objective.optimizer,
        transform=PretrainTransform(setup.make_augmentation(config), corruption),
        normalization=normalization,
        accumulate=accumulate,
    )
    crop, decay = tuple(config.data.crop), config.pretrain.ema_decay

    def make(seed: Any) -> TrainState:
        return objective.fresh_state(seed, (*crop, train.channels))

    sharded = config.run.shard_optimizer
    shardings = state_shardings(averaged_shapes(make, decay), mesh, sharded)
    stops, timing = StopRequests(), Timing()
    plan = make_plan(config, config.pretrain, steps_per_epoch)
    advance = train.trainer(
        mesh,
        batch_size=config.pretrain.batch_size,
        seed=config.seed,
        total_steps=plan.total_steps,
        steps_per_dispatch=config.run.steps_per_dispatch,
        timing=timing,
        shardings=shardings,
    )(averaging(step, decay))
    measure = reconstruction_evaluator(
        model,
        normalization,
        corruption,
        crop,
        functools.partial(test.spread(mesh, stops).parts, config.run.eval_batch_size),
    )
    rebuild = rebuilder(model, normalization, corruption, crop)
    monitor = make_monitor(config, model, normalization, corruption, train, test, mesh, stops)
    shown = test.first(SHEET_IMAGES)

    def evaluate(state: TrainState) -> dict[str, float]:
        path = home.folder / "images" / f"step_{int(state.step):08d}.png"
        strength = objective.skips.strength(state.step)
        variables = averaged_variables(state)
        if is_first():
            drawn = local_copy((variables, strength))
            try:
                write_sheet(path, rebuild(drawn[0], drawn[1], shown))
            except OSError as error:  # a picture less must not end a run
                log.warning("%s cannot be written (%s)", path, error.strerror)
        return {**measure(variables, strength), **monitor(variables)}

    def fresh_state() -> TrainState:
        state = make_sharded(make, config.seed, mesh, sharded)
        return start_average(state, decay)

    return run_training(
        home=home,
        config=setup.with_accumulate(config, "pretrain", accumulate),
        identity={
            "verb": "pretrain",
            "data": train.fingerprint(),
            "input": train.how,
            "batch_norm_groups": groups,
        },
        meta=pretrain_meta(config, model, normalization, objective.skips),
        plan=plan,
        fresh_state=fresh_state,
        advance=lambda step: advance,
        evaluate=evaluate,
        schedule=schedule,
        best="psnr",
        stops=stops,
        timing=timing,
        notes=[train.describe(), test.describe()],
    )


def pretrain_meta(
    config: ConfigDict, model: AutoEncoder, normalization: Normalization, skips: SkipSchedule
) -> dict[str, Any]:
    """Returns what a user of the encoder must know beside its parameters."""
    return {
        "spec": setup.spec_facts(model.spec),
        "channels": model.channels,
        **setup.autoencoder_facts(config),
        "skip_fade_steps": None if skips.fade is None else list(skips.fade),
        "normalization": normalization._asdict(),
    }


def write_sheet(path: Path, rebuilt: Rebuilt) -> None:
    """Draws images of a dataset: clean, corrupted, reconstructed."""
    # It imports matplotlib, which need not hold up the first step.
    from symskip_jax.analysis.sheets import reconstruction_sheet

    path.parent.mkdir(exist_ok=True)
    clean, corrupted, reconstructed, *psnrs = (np.asarray(it) for it in rebuilt)
    psnr_corrupted, psnr_reconstructed = (it.tolist() for it in psnrs)
    reconstruction_sheet(
        clean,
        corrupted,
        reconstructed,
        path,
        psnr_corrupted=psnr_corrupted,
        psnr_reconstructed=psnr_reconstructed,
    )
