"""What runs measured while they trained, as charts."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from symskip_jax.analysis.charts import Chart, Curve

# Of one curve: more cannot be told apart on a screen.
_MOST_POINTS = 300
_LOSSES = {
    "pretrain": ("Pre-training", "mean squared error", "in units of the pixels' variance"),
    "finetune": ("Fine-tuning", "cross-entropy (nats)", "with the labels"),
}


@dataclass(frozen=True)
class Measured:
    """A run's records.

    Attributes:
        label: the run's name in the charts.
        verb: `pretrain` or `finetune`; their losses do not share a chart.
        records: with `step`, `epoch` and `split`, as `read_metrics` returns them.
    """

    label: str
    verb: str
    records: Sequence[Mapping[str, Any]]

    def curve(self, split: str, key: str, factor: float = 1.0, label: str = "") -> Curve | None:
        """Returns how a figure went over the epochs; None where it was not measured."""
        found = [it for it in self.records if it["split"] == split and is_number(it.get(key))]
        if not found:
            return None
        epochs, values = (np.array([it[name] for it in found], float) for name in ("epoch", key))
        thinned = _thinned(epochs), _thinned(values * factor)
        return Curve(label or self.label, *(it.tolist() for it in thinned))


class _Figure(NamedTuple):
    title: str
    unit: str
    factor: float
    caption: str


# With the figure of the corrupted input itself, where that was measured.
_QUALITY = {
    "psnr": _Figure(
        "PSNR",
        "PSNR (dB)",
        1.0,
        "The higher, the closer to the clean images; with skips "
        "left out, of those images alone that the probes look at.",
    ),
    "ssim": _Figure("SSIM", "SSIM", 1.0, "1 is the clean image itself."),
}
_SCORES = {
    "accuracy": _Figure("Accuracy", "accuracy (%)", 100.0, "Share of images classified right."),
    "mean_average_precision": _Figure("Mean average precision", "mAP (%)", 100.0, "VOC's."),
    "mean_iu": _Figure("Mean IU", "mean IU (%)", 100.0, "Of the classes' masks."),
    "pixel_accuracy": _Figure("Pixels", "accuracy (%)", 100.0, "Share of pixels classified right."),
    "linear_accuracy": _Figure(
        "Linear probe", "accuracy (%)", 100.0, "What a linear classifier tells of frozen features."
    ),
    "knn_accuracy": _Figure(
        "kNN probe", "accuracy (%)", 100.0, "What the nearest neighbours tell of frozen features."
    ),
}
# Figures measured beside another, by what is behind its name; and what a curve says of them.
_BESIDE = {"_identity": "corrupted input", "_without_skips": "skips left out"}
_MIDDLE = ("_middle", "half-way layer")


def run_charts(runs: Sequence[Measured]) -> list[Chart]:
    """Returns a chart for each kind of figure that any of the runs has measured.

    Losses of training and tests, PSNR and SSIM beside those of the corrupted input and of the
    network without its skips, the scores of labelled tasks and of probes on the way, the learning
    rate and the speed. The x axis counts epochs.

    Args:
        runs: with labels that differ.
    """
    splits = [it for it in dict.fromkeys(r["split"] for m in runs for r in m.records)]
    tests = [split for split in splits if split != "train"]
    charts = [*_losses(runs, "train", "of training")]
    for split in tests:
        charts += _losses(runs, split, f"on {split} images")
        charts += [_quality(runs, split, key, figure) for key, figure in _QUALITY.items()]
        for key, (title, unit, factor, caption) in _SCORES.items():
            curves = [it.curve(split, key, factor) for it in runs]
            curves += _beside(runs, split, key, factor, *_MIDDLE)
            chart = _chart(f"{title}, {split} images", unit, curves, caption)
            charts.append(dataclasses.replace(chart, y_range=(0.0, 100.0)))
    rates = [it.curve("train", "learning_rate") for it in runs]
    charts.append(_chart("Learning rate", "learning rate", rates, "Of the optimiser.", log_y=True))
    speeds = [it.curve("train", "images_per_second") for it in runs]
    charts.append(_chart("Speed of training", "images/s", speeds, "Without evaluations and saves."))
    return [chart for chart in charts if chart.curves]


def is_number(value: Any) -> TypeGuard[int | float]:
    """Returns whether a value of a record is a number, be it NaN."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _losses(runs: Sequence[Measured], split: str, where: str) -> list[Chart]:
    charts = []
    for verb, (name, unit, caption) in _LOSSES.items():
        curves = [it.curve(split, "loss") for it in runs if it.verb == verb]
        charts.append(
            _chart(f"{name}: loss {where}", unit, curves, f"The loss {caption}.", log_y=True)
        )
    return charts


def _quality(runs: Sequence[Measured], split: str, key: str, figure: _Figure) -> Chart:
    """Returns a chart of the reconstructions' quality, and of what they were made from."""
    title, unit, factor, caption = figure
    rebuilt = [run.curve(split, key, factor) for run in runs]
    inputs, skipless = (
        _beside(runs, split, key, factor, end, name) for end, name in _BESIDE.items()
    )
    values = [it.y[-1] for it in inputs]
    # Runs with one corruption have one input.
    if values and max(values) - min(values) < 1e-6 * abs(max(values)):
        longest = max(inputs, key=lambda it: it.x[-1])
        inputs = [Curve("corrupted input", longest.x, longest.y)]
    if any(skipless):
        caption += " Skips left out: of the same network, which learnt with them."
    return _chart(f"{title}, {split} images", unit, [*rebuilt, *inputs, *skipless], caption)


def _beside(
    runs: Sequence[Measured], split: str, key: str, factor: float, end: str, name: str
) -> list[Curve]:
    """Returns the curves of what was measured beside a figure, of the runs that did."""
    found = [it.curve(split, f"{key}{end}", factor, f"{it.label}: {name}") for it in runs]
    return [it for it in found if it is not None]


def _chart(
    title: str, unit: str, curves: Sequence[Curve | None], caption: str, log_y: bool = False
) -> Chart:
    unit = f"{unit}, log scale" if log_y else unit
    return Chart(title, "epoch", unit, [it for it in curves if it is not None], caption, log_y)


def _thinned(values_n: np.ndarray) -> np.ndarray:
    """Returns the means of as many neighbours as it takes to have few points."""
    if len(values_n) <= _MOST_POINTS:
        return values_n
    return np.array([part.mean() for part in np.array_split(values_n, _MOST_POINTS)])
