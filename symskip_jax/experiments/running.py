"""What pre-training and fine-tuning have in common around the loop."""

import contextlib
import platform
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import optax
from ml_collections import ConfigDict

from symskip_jax.config import base_config, flat
from symskip_jax.errors import NonFiniteLossError, StoppedError, UnsavedError
from symskip_jax.training import schedules
from symskip_jax.training.checkpoints import Checkpoints
from symskip_jax.training.dispatch import Advance
from symskip_jax.training.homes import Home
from symskip_jax.training.logs import make_log
from symskip_jax.training.loop import Plan, fit
from symskip_jax.training.processes import is_first, say, several, together
from symskip_jax.training.profiling import Profile
from symskip_jax.training.schedules import plateau_scale
from symskip_jax.training.state import TrainState
from symskip_jax.training.stops import StopRequests
from symskip_jax.training.timing import Timing
from symskip_jax.training.watching import Watch, call_finished
from symskip_jax.training.workdir import check_same, check_shared, claim_workdir


def make_plan(config: ConfigDict, training: ConfigDict, steps_per_epoch: int) -> Plan:
    """Returns the plan of a `pretrain` or `finetune` section."""
    run = config.run
    return Plan(
        training.epochs,
        steps_per_epoch,
        training.batch_size,
        run.steps_per_dispatch,
        run.eval_every,
        run.checkpoint_every,
        tuple(run.profile_steps),
    )


def make_schedule(
    training: ConfigDict, steps_per_epoch: int, frozen_steps: int = 0
) -> optax.Schedule:
    """Returns the learning rates of a section.

    The rate rises, where that is asked for, from when the whole network learns: before, in the
    first `frozen_steps`, the head has the full one.
    """
    warmup_steps = round(training.warmup_epochs * steps_per_epoch)
    if training.schedule == "cosine":
        held_steps = frozen_steps + warmup_steps
        total_steps = training.epochs * steps_per_epoch
        rates = schedules.cosine_schedule(training.learning_rate, held_steps, total_steps)
    else:
        rates = schedules.milestone_schedule(
            training.learning_rate, training.milestones, training.milestone_factor, steps_per_epoch
        )
    return schedules.warmed_up(rates, warmup_steps, frozen_steps)


def make_optimizer(
    training: ConfigDict, schedule: optax.Schedule, steps_per_epoch: int, frozen_steps: int = 0
) -> optax.GradientTransformationExtraArgs:
    """Returns the optimiser of a section, the encoder frozen for the first so many steps."""
    return schedules.make_optimizer(
        schedule,
        rule=_make_rule(training),
        plateau_patience=training.plateau_patience,
        plateau_factor=training.plateau_factor,
        steps_per_epoch=steps_per_epoch,
        frozen=("encoder",),
        frozen_steps=frozen_steps,
    )


def _make_rule(training: ConfigDict) -> optax.GradientTransformation:
    if training.optimizer == "adamw":
        return schedules.adamw(training.weight_decay)
    if training.optimizer == "sgd":
        return schedules.sgd(training.momentum, training.weight_decay)
    return schedules.ADAM


def versions() -> dict[str, str]:
    """Returns the versions that a checkpoint records."""
    names = ("symskip_jax", "jax", "flax", "optax", "orbax-checkpoint", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def run_training(
    *,
    home: Home,
    config: ConfigDict,
    identity: dict[str, Any],
    meta: dict[str, Any],
    plan: Plan,
    fresh_state: Callable[[], TrainState],
    advance: Callable[[int], Advance],
    evaluate: Callable[[TrainState], dict[str, float]],
    schedule: optax.Schedule,
    best: str,
    stops: StopRequests,
    timing: Timing,
    notes: Sequence[str],
) -> TrainState:
    """Starts or resumes a run in its folder and brings it to its end.

    Args:
        home: of the run.
        config: the whole configuration.
        identity: what else decides what the run computes: the verb, the initialisation, the data,
            how BatchNorm cuts batches.
        meta: facts to save with each checkpoint.
        plan: when things happen.
        fresh_state: makes the state before the first step.
        advance: see `fit`.
        evaluate: see `fit`.
        schedule: learning rate by step.
        best: the evaluation metric whose best checkpoint is kept.
        stops: what the run is asked by others.
        timing: of the run.
        notes: lines about the run, said when it begins.

    Raises:
        UserError: the folder cannot be written, holds another run, or one that is going on.
        NonFiniteLossError, StoppedError, UnsavedError: see `fit`.
    """
    meta = {**meta, "config": flat(config), "versions": versions(), **identity}
    with _claimed(home, config, identity):
        workdir, kept = home.folder, config.run.keep_checkpoints
        checkpoints = Checkpoints(home.checkpoints, best, kept, before_save=home.publish)
        state = fresh_state()
        restored = checkpoints.restore_latest(state)
        if restored is not None:
            state = restored.state
        step = int(state.step)
        # A stop leaves it to whoever goes on from there.
        pending = (
            restored is not None and plan.evaluates(step) and not checkpoints.is_measured(step)
        )
        if step == plan.total_steps and not pending:
            # The start that took the last step may have been killed right after it.
            checkpoints.tidy()
            checkpoints.close()
            call_finished(workdir)
            home.publish()
            say(f"finished already: {plan.total_steps} steps")
            return state
        if restored is not None:
            notes = [f"resumed after step {step} of {plan.total_steps}", *notes]

        def learning_rate(state: TrainState) -> float:
            return float(schedule(state.step)) * plateau_scale(state.opt_state)

        facts = {
            "total_steps": plan.total_steps,
            "epochs": plan.epochs,
            "resumed_at": step,
        }
        profile = Profile(workdir, config.run.profile_steps)
        with contextlib.ExitStack() as stack:
            log = stack.enter_context(
                make_log(workdir, step, plan.total_steps, evaluated=not pending)
            )
            stack.callback(profile.close)
            stack.enter_context(
                Watch(home, log, timing, facts=facts, stall_seconds=config.run.stall_seconds)
            )
            stack.enter_context(stops)
            for note in notes:
                log.say(note)
            try:
                state = fit(
                    state,
                    plan=plan,
                    advance=advance,
                    evaluate=evaluate,
                    learning_rate=learning_rate,
                    meta=meta,
                    checkpoints=checkpoints,
                    log=log,
                    stops=stops,
                    timing=timing,
                    profile=profile,
                    pending=pending,
                )
            except (NonFiniteLossError, StoppedError, UnsavedError):
                checkpoints.close()
                raise
            except BaseException:
                # Of several processes the others may be anywhere, and cannot be waited for.
                if not several():
                    checkpoints.close()
                raise
            checkpoints.close()
        return state


def _claimed(
    home: Home, config: ConfigDict, identity: dict[str, Any]
) -> contextlib.AbstractContextManager[Any]:
    """Makes the folder the run's own, for all processes, until it is left."""
    identity = {**identity, **_described(config)}
    # Fields that a run knows nothing of are younger, and were what their defaults are.
    unsaid = {**_described(base_config()), "batch_norm_groups": 1}
    with together():
        check_same(identity)
        check_shared(home.address)
        if is_first():
            return claim_workdir(home.folder, identity, unsaid, home.fetch)
    return contextlib.nullcontext()


def _described(config: ConfigDict) -> dict[str, Any]:
    # How a run is probed afterwards is no part of it.
    return {
        f"config.{key}": value
        for key, value in flat(config).items()
        if not key.startswith("probe.")
    }
