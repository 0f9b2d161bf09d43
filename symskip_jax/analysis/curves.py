"""What runs measured while they trained, as charts."""

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
    "psnr": _Figure("PSNR", "PSNR (dB)", 1.0, "The higher, the closer to the clean images."),
    "ssim": _Figure("SSIM", "SSIM", 1.0, "1 is the clean image itself."),
}
_SCORES = {
    "accuracy": _Figure("Accuracy", "accuracy (%)", 100.0, "Share of images classified right."),
    "mean_average_precision": _Figure("Mean average precision", "mAP (%)", 100.0, "VOC's."),
    "mean_iu": _Figure("Mean IU", "mean IU (%)", 100.0, "Of the classes' masks."),
    "pixel_accuracy": _Figure("Pixels", "accuracy (%)", 100.0, "Share of pixels classified right."),
}


def run_charts(runs: Sequence[Measured]) -> list[Chart]:
    """Returns a chart for each kind of figure that any of the runs has measured.

    Losses of training and tests, PSNR and SSIM beside those of the corrupted input, the scores of
    labelled tasks, whatever else ends in `_accuracy` (as of probes and nearest neighbours), the
    learning rate and the speed. The x axis counts epochs.

    Args:
        runs: with labels that differ.
    """
    splits = [it for it in dict.fromkeys(r["split"] for m in runs for r in m.records)]
    tests = [split for split in splits if split != "train"]
    charts = [*_losses(runs, "train", "of training")]
    for split in tests:
        charts += _losses(runs, split, f"on {split} images")
        charts += [_quality(runs, split, key, figure) for key, figure in _QUALITY.items()]
        scores = _SCORES | {key: _probe(key) for key in _probe_keys(runs, split)}
        for key, (title, unit, factor, caption) in scores.items():
            curves = [it.curve(split, key, factor) for it in runs]
            charts.append(_chart(f"{title}, {split} images", unit, curves, caption))
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
    rebuilt, inputs = [], []
    for run in runs:
        rebuilt.append(run.curve(split, key, factor))
        inputs.append(run.curve(split, f"{key}_identity", factor, f"{run.label}: corrupted input"))
    known = [it for it in inputs if it is not None]
    values = [it.y[-1] for it in known]
    # Runs with one corruption have one input.
    if values and max(values) - min(values) < 1e-6 * abs(max(values)):
        longest = max(known, key=lambda it: it.x[-1])
        inputs = [Curve("corrupted input", longest.x, longest.y)]
    return _chart(f"{title}, {split} images", unit, [*rebuilt, *inputs], caption)


def _probe_keys(runs: Sequence[Measured], split: str) -> list[str]:
    keys = [k for m in runs for r in m.records if r["split"] == split for k in r]
    return [k for k in dict.fromkeys(keys) if k.endswith("_accuracy") and k not in _SCORES]


def _probe(key: str) -> _Figure:
    name = key.removesuffix("_accuracy").replace("_", " ").replace("knn", "kNN")
    title = f"{name[0].upper()}{name[1:]} accuracy" if name != "kNN" else "kNN accuracy"
    return _Figure(title, "accuracy (%)", 100.0, "What the frozen features tell of the class.")


def _chart(
    title: str, unit: str, curves: Sequence[Curve | None], caption: str, log_y: bool = False
) -> Chart:
    return Chart(title, "epoch", unit, [it for it in curves if it is not None], caption, log_y)


def _thinned(values_n: np.ndarray) -> np.ndarray:
    """Returns the means of as many neighbours as it takes to have few points."""
    if len(values_n) <= _MOST_POINTS:
        return values_n
    return np.array([part.mean() for part in np.array_split(values_n, _MOST_POINTS)])
