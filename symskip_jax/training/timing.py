"""What the time of a run goes into."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

# input: waiting for images, within training.
Activity = Literal["training", "input", "evaluation", "saving"]


class Timing:
    """Adds up seconds by activity; one within another counts for the inner one alone.

    Attributes:
        current: the activity under way; None between them.
        since: when it began, on the monotonic clock.
        totals: seconds of each activity so far.
    """

    def __init__(self) -> None:
        """Starts with nothing spent."""
        self.current: Activity | None = None
        self.began = self.since = time.monotonic()
        self.totals: dict[Activity, float] = {}
        self._last: dict[Activity, float] = {}

    @contextmanager
    def of(self, activity: Activity) -> Iterator[None]:
        """Counts what happens within as the activity's."""
        outer, began = self.current, time.monotonic()
        self._switch(activity)
        try:
            yield
        finally:
            self._last[activity] = time.monotonic() - began
            self._switch(outer)

    def last(self, activity: Activity) -> float:
        """Returns how many seconds the activity took the last time, with what was within."""
        return self._last.get(activity, 0.0)

    def of_steps(self, steps: int, batch_size: int) -> dict[str, Any]:
        """Returns what the last steps took, as a record of the log holds it."""
        seconds = self.last("training")
        return {"seconds": seconds, "images_per_second": steps * batch_size / seconds}

    def _switch(self, activity: Activity | None) -> None:
        now = time.monotonic()
        if self.current is not None:
            self.totals[self.current] = self.totals.get(self.current, 0.0) + now - self.since
        self.current, self.since = activity, now
