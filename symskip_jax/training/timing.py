"""What the time of a run goes into."""

import statistics
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
        since: when it, or the pause, began, on the monotonic clock.
        began: when this was made.
    """

    def __init__(self) -> None:
        """Starts with nothing spent."""
        self.current: Activity | None = None
        self.began = self.since = time.monotonic()
        self._totals: dict[Activity, float] = {}
        self._reported: dict[Activity, float] = {}
        self._durations: dict[Activity, list[float]] = {}

    @contextmanager
    def of(self, activity: Activity) -> Iterator[None]:
        """Counts what happens within as the activity's."""
        outer, began = self.current, time.monotonic()
        self._switch(activity)
        try:
            yield
        finally:
            self._durations.setdefault(activity, []).append(time.monotonic() - began)
            self._switch(outer)

    def totals(self) -> dict[str, float]:
        """Returns the seconds of each activity so far, the one under way included."""
        totals, current, since = dict(self._totals), self.current, self.since
        if current is not None:
            totals[current] = totals.get(current, 0.0) + time.monotonic() - since
        return {name: round(seconds, 3) for name, seconds in totals.items()}

    def last(self, activity: Activity) -> float:
        """Returns how many seconds the activity took the last time, with what was within."""
        return self._durations[activity][-1]

    def usual(self, activity: Activity) -> float | None:
        """Returns how many seconds the activity takes: the median; None before the first."""
        durations = self._durations.get(activity)
        return statistics.median(durations[-100:]) if durations else None

    def compiling(self) -> float | None:
        """Returns by how many seconds the first of each activity took longer than it usually does.

        None before the second of training.
        """
        if len(self._durations.get("training", ())) < 2:
            return None
        later = [(it[0], it[1:][-100:]) for it in self._durations.values() if len(it) > 1]
        return sum(max(0.0, first - statistics.median(others)) for first, others in later)

    def of_steps(self, steps: int, batch_size: int) -> dict[str, Any]:
        """Returns what the last steps took, as a record of the log holds it.

        With the seconds spent waiting for images, which are a part of it, and those that training
        stood still for a checkpoint since the record before.
        """
        seconds = self.last("training")
        since = {}
        for activity in ("input", "saving"):
            total = self._totals.get(activity, 0.0)
            since[f"{activity}_seconds"] = total - self._reported.get(activity, 0.0)
            self._reported[activity] = total
        return {"seconds": seconds, "images_per_second": steps * batch_size / seconds, **since}

    def _switch(self, activity: Activity | None) -> None:
        now = time.monotonic()
        if self.current is not None:
            self._totals[self.current] = self._totals.get(self.current, 0.0) + now - self.since
        self.current, self.since = activity, now
