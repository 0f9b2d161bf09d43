"""The loop: steps, evaluations, checkpoints and stops, at moments that depend on the step alone."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from symskip_jax.errors import NonFiniteLossError, StoppedError
from symskip_jax.training.checkpoints import Checkpoints
from symskip_jax.training.dispatch import Advance
from symskip_jax.training.logs import RunLog, Silent
from symskip_jax.training.profiling import Profile
from symskip_jax.training.state import TrainState
from symskip_jax.training.stops import StoppedEvaluationError, StopRequests
from symskip_jax.training.timing import Timing


@dataclasses.dataclass(frozen=True)
class Plan:
    """When things happen.

    Attributes:
        epochs: in all.
        steps_per_epoch: full batches in the data.
        batch_size: images a step.
        steps_per_dispatch: most steps between two looks at losses and signals.
        eval_every: epochs between evaluations; the last epoch always ends with one.
        checkpoint_every: epochs between checkpoints; the last epoch always ends with one.
        bounds: more steps that no dispatch crosses.
    """

    epochs: int
    steps_per_epoch: int
    batch_size: int
    steps_per_dispatch: int
    eval_every: float
    checkpoint_every: float
    bounds: tuple[int, ...] = ()

    @property
    def total_steps(self) -> int:
        """Steps in all."""
        return self.epochs * self.steps_per_epoch

    def next_stop(self, step: int) -> int:
        """Returns the step up to which nothing but training happens."""
        epoch_end = (step // self.steps_per_epoch + 1) * self.steps_per_epoch
        stops = [step + self.steps_per_dispatch, epoch_end, self.total_steps]
        for period in (self._period(self.eval_every), self._period(self.checkpoint_every)):
            stops.append((step // period + 1) * period)
        return min([*stops, *(it for it in self.bounds if it > step)])

    def evaluates(self, step: int) -> bool:
        """Whether an evaluation follows this step."""
        return step == self.total_steps or step % self._period(self.eval_every) == 0

    def saves(self, step: int) -> bool:
        """Whether a checkpoint follows this step."""
        return step == self.total_steps or step % self._period(self.checkpoint_every) == 0

    def _period(self, epochs: float) -> int:
        return max(1, round(epochs * self.steps_per_epoch))


def fit(
    state: TrainState,
    *,
    plan: Plan,
    advance: Callable[[int], Advance],
    evaluate: Callable[[TrainState], dict[str, float]],
    learning_rate: Callable[[TrainState], float],
    meta: dict[str, Any],
    checkpoints: Checkpoints,
    log: RunLog | Silent,
    stops: StopRequests,
    timing: Timing,
    profile: Profile,
    pending: bool = False,
) -> TrainState:
    """Trains from the state's step to the plan's last.

    Args:
        state: donated: use what is returned.
        plan: when things happen.
        advance: step -> the function that takes the steps from there on.
        evaluate: state -> metrics of the test split, `loss` among them; may be left unfinished.
        learning_rate: state -> rate of its coming step, for the log.
        meta: saved with every checkpoint.
        checkpoints: where to.
        log: of the run.
        stops: asked between dispatches, and in evaluations.
        timing: of what the time goes into.
        profile: of the steps that are to be traced.
        pending: the state was saved, and its evaluation left unfinished.

    Raises:
        NonFiniteLossError: names the step and the last checkpoint.
        StoppedError: after saving.
        UnsavedError: the last state could not be saved.
    """
    step = int(state.step)
    if pending:
        results = _evaluated(state, step, plan, evaluate, checkpoints, log, timing)
        if results is not None:
            with timing.of("saving"):
                checkpoints.measured(step, results)
        _stop_if_asked(stops, state, step, plan, checkpoints, finished=results is not None)
    while step < plan.total_steps:
        first, step = step, plan.next_stop(step)
        rate = learning_rate(state)
        profile.before(first)
        with timing.of("training"):
            state, measured = advance(first)(state, first, step - first)
        profile.after(step)
        for offset, loss in enumerate(measured["loss"].tolist()):
            _check_finite(loss, first + offset + 1, checkpoints)
        means = {name: float(values.mean(dtype="float64")) for name, values in measured.items()}
        spent = timing.of_steps(step - first, plan.batch_size)
        log.write(
            {**_place(step, plan), "split": "train", **means, "learning_rate": rate, **spent},
            line=step % plan.steps_per_epoch == 0,
        )
        results, stopping = None, stops.agreed()
        if plan.evaluates(step) or plan.saves(step) or stopping or checkpoints.owes_a_save():
            # The loss is that of before the step, so it says nothing of what the step has made.
            _check_finite(float(_magnitude(state.variables)), step, checkpoints, "parameters")
        if plan.evaluates(step) and not stopping:
            results = _evaluated(state, step, plan, evaluate, checkpoints, log, timing)
            stopping = stops.agreed() if results is None else None
        unfinished = plan.evaluates(step) and results is None
        if plan.saves(step) or stopping or checkpoints.owes_a_save():
            with timing.of("saving"):
                checkpoints.save(state, meta, results)
        if stopping:
            _stop_if_asked(stops, state, step, plan, checkpoints, finished=not unfinished)
    checkpoints.finish(state, "finished")
    return state


def _evaluated(
    state: TrainState,
    step: int,
    plan: Plan,
    evaluate: Callable[[TrainState], dict[str, float]],
    checkpoints: Checkpoints,
    log: RunLog | Silent,
    timing: Timing,
) -> dict[str, float] | None:
    """Returns what an evaluation measures, and logs it; None where it was left unfinished."""
    try:
        with timing.of("evaluation"):
            results = evaluate(state)
    except StoppedEvaluationError:
        return None
    _check_finite(results["loss"], step, checkpoints, "test loss")
    spent = {"seconds": timing.last("evaluation")}
    log.write({**_place(step, plan), "split": "test", **results, **spent})
    return results


def _stop_if_asked(
    stops: StopRequests,
    state: TrainState,
    step: int,
    plan: Plan,
    checkpoints: Checkpoints,
    *,
    finished: bool,
) -> None:
    stopping = stops.agreed()
    if stopping and (step < plan.total_steps or not finished):
        checkpoints.finish(state, f"stopped by {stopping}")
        raise StoppedError(
            f"stopped by {stopping} after step {step} of {plan.total_steps}, and saved; "
            "the same command goes on from there"
        )


def _place(step: int, plan: Plan) -> dict[str, Any]:
    return {"step": step, "epoch": step / plan.steps_per_epoch}


@jax.jit
def _magnitude(tree: Any) -> Array:
    """Returns the largest absolute value in a tree; NaN if there is one."""
    return jnp.max(jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(tree)]))


def _check_finite(value: float, step: int, checkpoints: Checkpoints, what: str = "loss") -> None:
    if math.isfinite(value):
        return
    checkpoints.settle()
    saved = checkpoints.steps()
    last = f"the checkpoint of step {saved[-1]} is whole" if saved else "nothing was saved yet"
    raise NonFiniteLossError(
        f"the {what} became {value} at step {step}; {last}; try a lower learning_rate"
    )
