"""Runs steps over a dataset that is streamed to the devices, a few batches ahead."""

from collections import deque
from collections.abc import Iterator

import jax
import numpy as np
from jax.sharding import Mesh

from symskip_jax.data.stream import Stream
from symskip_jax.training.dispatch import Advance, fetched
from symskip_jax.training.mesh import Step, jit_step, put_split
from symskip_jax.training.state import TrainState
from symskip_jax.training.steps import Batch
from symskip_jax.training.timing import Timing


class Feed:
    """Streamed batches on their way to the devices, some steps ahead."""

    def __init__(
        self, stream: Stream, mesh: Mesh, total_steps: int, timing: Timing, ahead: int = 2
    ):
        """Describes the feed; nothing is read yet.

        Args:
            stream: of this process's part of each batch.
            mesh: devices, over which a batch is split.
            total_steps: of the run: nothing is asked for beyond them.
            timing: told how long is waited for images.
            ahead: batches that are on the devices before they are asked for.
        """
        self._stream = stream
        self._mesh = mesh
        self._total_steps = total_steps
        self._timing = timing
        self._ahead = ahead
        self._close()

    def batch_of(self, step: int) -> Batch:
        """Gives the batch of a step; fast if the one asked for before was that of the step before.

        Raises:
            UserError: an image cannot be decoded or read; a worker died.
        """
        if step != self._next_step:
            self._close()
            self._batches = self._stream.batches(step)
            self._next_step = step
        wanted = min(self._ahead + 1, self._total_steps - step)
        with self._timing.of("input"):
            while len(self._waiting) < wanted:
                self._waiting.append(put_split(next(self._batches), self._mesh))
        self._next_step += 1
        return self._waiting.popleft()

    def _close(self) -> None:
        self._batches: Iterator[dict[str, np.ndarray]] = iter(())
        self._waiting: deque[Batch] = deque()
        self._next_step = -1


def streamed_advance(
    step: Step, mesh: Mesh, feed: Feed, shardings: TrainState | None = None
) -> Advance:
    """Compiles a step that takes its batches from a feed, one a dispatch.

    Args:
        step: pretrain_step, finetune_step or head_step with everything static bound.
        mesh: devices; the batch is split.
        feed: of the batches; several steps may share it.
        shardings: of the state; see `jit_step`.

    Returns:
        A function that takes n steps. The state is donated: do not use it again.
    """
    compiled = jit_step(step, mesh, shardings)

    def advance(
        state: TrainState, first_step: int, n: int
    ) -> tuple[TrainState, dict[str, np.ndarray]]:
        rows = []
        for k in range(first_step, first_step + n):
            batch = feed.batch_of(k)
            with jax.transfer_guard("disallow"):
                state, measured = compiled(state, batch)
            rows.append(measured)
        return state, fetched(rows)

    return advance
