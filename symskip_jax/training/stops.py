"""Requests to stop: heard by one process, acted on by all at the same moment."""

import os
import signal
from collections.abc import Iterable, Iterator
from types import FrameType, TracebackType
from typing import Any, Self, TypeVar

import jax
from jax.experimental import multihost_utils

T = TypeVar("T")


class StoppedEvaluationError(Exception):
    """An evaluation was left unfinished, as the run was asked to stop."""


class StopRequests:
    """Turns SIGTERM and Ctrl-C into a request to stop, while entered.

    Of several processes any may be asked; all learn of it at the same call of `agreed`, which each
    makes at the same places of the program. A second Ctrl-C is immediate.
    """

    def __init__(self) -> None:
        """Starts without a request."""
        self._requested: str | None = None
        self._agreed: str | None = None
        self._asked = 0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        # With several processes JAX's runtime has a handler of its own for SIGTERM.
        numbers = [signal.SIGINT] if jax.process_count() > 1 else [signal.SIGTERM, signal.SIGINT]
        for number in numbers:
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

    def agreed(self) -> str | None:
        """Returns the signal by which all processes stop now, or None to go on; for all."""
        if self._agreed is None:
            if jax.process_count() == 1:
                self._agreed = self._requested
            else:
                self._asked += 1
                if multihost_utils.reached_preemption_sync_point(self._asked):
                    self._agreed = self._requested or "SIGTERM to one of the processes"
        return self._agreed

    def watched(self, items: Iterable[T]) -> Iterator[T]:
        """Goes through the parts of an evaluation, unless the run is to stop; for all.

        Raises:
            StoppedEvaluationError: it is.
        """
        for item in items:
            if self.agreed():
                raise StoppedEvaluationError
            yield item

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self._requested is not None and number == signal.SIGINT:
            # An exception could end in a callback that swallows it.
            os._exit(128 + number)
        self._requested = signal.Signals(number).name
        if number == signal.SIGINT:
            # Neither print nor logging may be entered anew from a handler.
            os.write(2, b"stopping after what is under way; Ctrl-C again ends at once, unsaved\n")
        if jax.process_count() > 1:
            # The runtime tells the others of this signal alone.
            os.kill(os.getpid(), signal.SIGTERM)
