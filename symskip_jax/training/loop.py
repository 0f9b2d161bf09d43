"""The loop: steps, evaluations, checkpoints and stops, at moments that depend on the step alone."""

import dataclasses
import math
import os
import signal
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

import jax
import jax.numpy as jnp
from jax import Array

from symskip_jax.errors import NonFiniteLossError, StoppedError
from symskip_jax.training.checkpoints import Checkpoints
from symskip_jax.training.dispatch import Advance
from symskip_jax.training.logs import RunLog
from symskip_jax.training.state import TrainState


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
    """

    epochs: int
    steps_per_epoch: int
    batch_size: int
    steps_per_dispatch: int
    eval_every: float
    checkpoint_every: float

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
        return min(stops)

    def evaluates(self, step: int) -> bool:
        """Whether an evaluation follows this step."""
        return step == self.total_steps or step % self._period(self.eval_every) == 0

    def saves(self, step: int) -> bool:
        """Whether a checkpoint follows this step."""
        return step == self.total_steps or step % self._period(self.checkpoint_every) == 0

    def _period(self, epochs: float) -> int:
        return max(1, round(epochs * self.steps_per_epoch))


class StopRequests:
    """Turns SIGTERM and Ctrl-C into a request to stop, while entered.

    A second Ctrl-C is immediate.
    """

    def __init__(self) -> None:
        """Starts without a request."""
        self.requested: str | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._previous[number] = signal.signal(number, self._request)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.requested is not None and number == signal.SIGINT:
            # An exception could end in a callback that swallows it.
            os._exit(128 + number)
        self.requested = signal.Signals(number).name


def fit(
    state: TrainState,
    *,
    plan: Plan,
    advance: Callable[[int], Advance],
    evaluate: Callable[[TrainState], dict[str, float]],
    learning_rate: Callable[[TrainState], float],
    meta: dict[str, Any],
    checkpoints: Checkpoints,
    log: RunLog,
    stops: StopRequests,
) -> TrainState:
    """Trains from the state's step to the plan's last.

    Args:
        state: donated: use what is returned.
        plan: when things happen.
        advance: step -> the function that takes the steps from there on.
        evaluate: state -> metrics of the test split, `loss` among them.
        learning_rate: state -> rate of its coming step, for the log.
        meta: saved with every checkpoint.
        checkpoints: where to.
        log: of the run.
        stops: asked between dispatches.

    Raises:
        NonFiniteLossError: names the step and the last checkpoint.
        StoppedError: after saving.
    """
    step = int(state.step)
    while step < plan.total_steps:
        first, step = step, plan.next_stop(step)
        rate = learning_rate(state)
        started = time.perf_counter()
        state, measured = advance(first)(state, first, step - first)
        seconds = time.perf_counter() - started
        for offset, loss in enumerate(measured["loss"].tolist()):
            _check_finite(loss, first + offset + 1, checkpoints)
        record: dict[str, Any] = {"step": step, "epoch": step / plan.steps_per_epoch}
        means = {name: float(values.mean(dtype="float64")) for name, values in measured.items()}
        speed = (step - first) * plan.batch_size / seconds
        log.write(
            {
                **record,
                "split": "train",
                **means,
                "learning_rate": rate,
                "seconds": seconds,
                "images_per_second": speed,
            },
            line=step % plan.steps_per_epoch == 0,
        )
        results, stopping = None, stops.requested
        if plan.evaluates(step) or plan.saves(step) or stopping:
            # The loss is that of before the step, so it says nothing of what the step has made.
            _check_finite(float(_magnitude(state.variables)), step, checkpoints, "parameters")
        if plan.evaluates(step):
            started = time.perf_counter()
            results = evaluate(state)
            seconds = time.perf_counter() - started
            _check_finite(results["loss"], step, checkpoints, "test loss")
            log.write({**record, "split": "test", **results, "seconds": seconds})
        if plan.saves(step) or stopping:
            checkpoints.save(state, meta, results)
        if stopping and step < plan.total_steps:
            checkpoints.wait()
            raise StoppedError(
                f"stopped by {stopping} after step {step} of {plan.total_steps}, and saved; "
                "the same command goes on from there"
            )
    checkpoints.wait()
    return state


@jax.jit
def _magnitude(tree: Any) -> Array:
    """Returns the largest absolute value in a tree; NaN if there is one."""
    return jnp.max(jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(tree)]))


def _check_finite(value: float, step: int, checkpoints: Checkpoints, what: str = "loss") -> None:
    if math.isfinite(value):
        return
    checkpoints.wait()
    saved = checkpoints.steps()
    last = f"the checkpoint of step {saved[-1]} is whole" if saved else "nothing was saved yet"
    raise NonFiniteLossError(
        f"the {what} became {value} at step {step}; {last}; try a lower learning_rate"
    )
