"""Where a run says what it does: metrics.jsonl, TensorBoard and the terminal."""

import math
import sys
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from symskip_jax.training.processes import is_first
from symskip_jax.training.records import Records, TensorBoard


class RunLog:
    """Writes the measurements of a run.

    A record is a flat dict with `step`, `epoch` and `split`; see `records.read_metrics`. On a
    terminal the latest training record is a progress bar, elsewhere each evaluation and each
    finished epoch is a line.
    """

    def __init__(
        self, workdir: Path, start_step: int, total_steps: int, *, evaluated: bool = True
    ) -> None:
        """Opens the logs and drops what a killed run wrote after the step it resumes from.

        Args:
            workdir: of the run.
            start_step: that it resumes from.
            total_steps: of the run.
            evaluated: whether that step's evaluation is over, and not to come again.
        """
        self._records = Records(workdir / "metrics.jsonl", start_step, evaluated=evaluated)
        self._tensorboard = TensorBoard(workdir / "tensorboard", start_step)
        # The last records of training and tests, as the status of the run tells them.
        self.latest: dict[str, dict[str, Any]] = {}
        self._console = Console(stderr=True)
        self._progress: Progress | None = None
        if self._console.is_terminal:
            # Few columns: on a terminal of 80 characters more of them would be cut short.
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed}/{task.total}"),
                TimeRemainingColumn(compact=True, elapsed_when_finished=True),
                TextColumn("{task.fields[figures]}"),
                console=self._console,
            )
            self._task = self._progress.add_task(
                workdir.name, total=total_steps, completed=start_step, figures=""
            )
            self._progress.start()

    def write(self, record: dict[str, Any], *, line: bool = True) -> None:
        """Writes a record; `line` says whether it also deserves a line on the terminal."""
        self.latest[record["split"]] = record
        self._records.write(record)
        self._tensorboard.write(record)
        figures = _figures(record)
        if self._progress is not None:
            if record["split"] == "train":
                figures = figures.removeprefix("train: ")
                self._progress.update(self._task, completed=record["step"], figures=figures)
            else:
                self._progress.console.print(f"epoch {record['epoch']:g} {figures}", soft_wrap=True)
        elif line:
            print(f"step {record['step']} epoch {record['epoch']:g} {figures}", file=sys.stderr)

    def say(self, text: str) -> None:
        """Prints a line on the terminal."""
        if self._progress is not None:
            self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the files and the progress bar."""
        if self._progress is not None:
            self._progress.stop()
        self._tensorboard.close()
        self._records.close()


class Silent:
    """The log of a process whose run another one writes about."""

    def __init__(self) -> None:
        """Has nothing to tell."""
        self.latest: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def write(self, record: dict[str, Any], *, line: bool = True) -> None:
        """Does nothing."""

    def say(self, text: str) -> None:
        """Does nothing."""


def make_log(
    workdir: Path, start_step: int, total_steps: int, *, evaluated: bool
) -> RunLog | Silent:
    """Opens the log of this process: process 0 alone writes; see `RunLog`."""
    if not is_first():
        return Silent()
    return RunLog(workdir, start_step, total_steps, evaluated=evaluated)


def _figures(record: dict[str, Any]) -> str:
    one = record.get("monitor_count") == 1
    shown = {
        "loss": "loss {:.4g}",
        "psnr": "PSNR {:.2f} dB",
        "psnr_identity": "(input {:.2f} dB)",
        "ssim": "SSIM {:.3f}",
        "psnr_without_skips": "(without skips {:.2f} dB)",
        "linear_accuracy": "linear probe {:.2%}",
        "knn_accuracy": "kNN {:.2%}",
        "monitor_count": "(of {:,} image)" if one else "(of {:,} images)",
        "accuracy": "accuracy {:.2%}",
        "mean_average_precision": "mAP {:.2%}",
        "mean_iu": "mean IU {:.2%}",
        "pixel_accuracy": "pixels {:.2%}",
        "images_per_second": "{:.0f} images/s",
    }
    parts = [
        form.format(record[name])
        for name, form in shown.items()
        if name in record and math.isfinite(record[name])
    ]
    return f"{record['split']}: {' '.join(parts)}"
