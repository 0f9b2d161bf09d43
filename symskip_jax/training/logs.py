"""Where a run says what it does: metrics.jsonl, TensorBoard and the terminal."""

import functools
import json
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from symskip_jax.training.processes import is_first

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter


class RunLog:
    """Writes the measurements of a run.

    A record is a flat dict with `step`, `epoch` and `split`; see `read_metrics`. On a terminal the
    latest training record is a progress bar, elsewhere each evaluation and each finished epoch is a
    line.
    """

    def __init__(self, workdir: Path, start_step: int, total_steps: int) -> None:
        """Opens the logs and drops what a killed run wrote after the step it resumes from."""
        self._path = workdir / "metrics.jsonl"
        _truncate(self._path, start_step)
        self._file = self._path.open("a")
        self._workdir, self._start_step = workdir, start_step
        self._console = Console(stderr=True)
        self._progress: Progress | None = None
        if self._console.is_terminal:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed}/{task.total} steps"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[figures]}"),
                console=self._console,
            )
            self._task = self._progress.add_task(
                workdir.name, total=total_steps, completed=start_step, figures=""
            )
            self._progress.start()

    @functools.cached_property
    def _tensorboard(self) -> "SummaryWriter":
        # It imports torch where there is one, which takes seconds: not before the first step.
        from tensorboardX import SummaryWriter

        folder = str(self._workdir / "tensorboard")
        return SummaryWriter(folder, purge_step=self._start_step + 1)

    def write(self, record: dict[str, Any], *, line: bool = True) -> None:
        """Writes a record; `line` says whether it also deserves a line on the terminal."""
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        for name, value in record.items():
            if name not in ("step", "epoch", "split"):
                tag = f"{record['split']}/{name}"
                self._tensorboard.add_scalar(tag, value, record["step"])
        figures = _figures(record)
        if self._progress is not None:
            if record["split"] == "train":
                self._progress.update(self._task, completed=record["step"], figures=figures)
            else:
                self._progress.console.print(f"epoch {record['epoch']:g} {figures}")
        elif line:
            print(f"step {record['step']} epoch {record['epoch']:g} {figures}", file=sys.stderr)

    def say(self, text: str) -> None:
        """Prints a line on the terminal."""
        if self._progress is not None:
            self._progress.console.print(text, markup=False, highlight=False)
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
        self._file.close()


class Silent:
    """The log of a process whose run another one writes about."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def write(self, record: dict[str, Any], *, line: bool = True) -> None:
        """Does nothing."""

    def say(self, text: str) -> None:
        """Does nothing."""


def make_log(workdir: Path, start_step: int, total_steps: int) -> RunLog | Silent:
    """Opens the log of this process: process 0 alone writes."""
    return RunLog(workdir, start_step, total_steps) if is_first() else Silent()


def read_metrics(workdir: Path) -> list[dict[str, Any]]:
    """Returns the records of a run.

    Each has `step`, `epoch`, `split` ("train" or "test") and what was measured; `seconds` and
    `images_per_second` alone depend on the clock. What a kill cut short is left out.
    """
    return _read(workdir / "metrics.jsonl")


def _read(path: Path) -> list[dict[str, Any]]:
    records = []
    for line in path.read_text().splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:  # the line that a kill cut short
            break
    return records


def _truncate(path: Path, last_step: int) -> None:
    if not path.exists():
        return
    kept = [json.dumps(record) + "\n" for record in _read(path) if record["step"] <= last_step]
    partial = path.with_name(path.name + ".partial")
    partial.write_text("".join(kept))
    os.replace(partial, path)


def _figures(record: dict[str, Any]) -> str:
    shown = {
        "loss": "loss {:.4g}",
        "psnr": "PSNR {:.2f} dB",
        "psnr_identity": "(input {:.2f} dB)",
        "ssim": "SSIM {:.3f}",
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
