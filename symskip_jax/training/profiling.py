"""A trace of some steps by JAX's profiler, for TensorBoard or Perfetto."""

from collections.abc import Sequence
from pathlib import Path

import jax

FOLDER = "profile"


class Profile:
    """Traces the steps from one to another, every process its own devices."""

    def __init__(self, workdir: Path, steps: Sequence[int]) -> None:
        """Describes the trace.

        Args:
            workdir: of the run; the trace goes to `profile/` there.
            steps: the step it begins after, and the last one in it; empty for none.
        """
        self._folder, self._steps = workdir / FOLDER, tuple(steps)
        self._running = False

    @property
    def bounds(self) -> tuple[int, ...]:
        """Steps at which it begins and ends, which no dispatch may cross."""
        return self._steps

    def before(self, step: int) -> None:
        """Starts the trace if the coming steps are in it.

        Args:
            step: steps taken so far.
        """
        if self._steps and not self._running and self._steps[0] <= step < self._steps[1]:
            jax.profiler.start_trace(str(self._folder))
            self._running = True

    def after(self, step: int) -> None:
        """Ends the trace if the steps taken since `before` were the last ones in it.

        Args:
            step: steps taken so far.
        """
        if self._running and step >= self._steps[1]:
            self.close()

    def close(self) -> None:
        """Ends the trace where it is."""
        if self._running:
            jax.profiler.stop_trace()
            self._running = False
