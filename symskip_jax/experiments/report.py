"""`symskip report`: one page of a run, or of several beside one another."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from symskip_jax.analysis.curves import Measured, is_number, run_charts
from symskip_jax.analysis.page import (
    charts_html,
    facts_html,
    heading_html,
    is_page,
    is_png,
    note_html,
    paragraph_html,
    picture_html,
    section_html,
    table_html,
    write_page,
)
from symskip_jax.analysis.report import SHEET_ALT, SHEET_CAPTION
from symskip_jax.config import base_config, flat
from symskip_jax.errors import UserError
from symskip_jax.experiments.run_cost import run_cost
from symskip_jax.experiments.run_folder import RunFolder, read_run_folders
from symskip_jax.training.workdir import make_workdir

# Sheets on a page, over all runs; each run has its last at least.
_SHEETS = 6
_ABSENT = "–"
# Facts that stand before the figures: kind, data, state and epoch.
_HEAD = 4
_KINDS = {"pretrain": "pre-training", "finetune": "fine-tuning"}
# Of the last test: name on the page, factor, digits.
_FIGURES = {
    "accuracy": ("accuracy (%)", 100.0, 2),
    "mean_average_precision": ("mean average precision (%)", 100.0, 2),
    "mean_iu": ("mean IU (%)", 100.0, 2),
    "linear_accuracy": ("linear probe, accuracy (%)", 100.0, 2),
    "knn_accuracy": ("kNN probe, accuracy (%)", 100.0, 2),
    "psnr": ("PSNR (dB)", 1.0, 2),
    "psnr_identity": ("PSNR of the corrupted input (dB)", 1.0, 2),
    "psnr_without_skips": ("PSNR, skips left out (dB)", 1.0, 2),
    "ssim": ("SSIM", 1.0, 3),
    "loss": ("test loss", 1.0, 4),
}
# Of how many images those are that a few more would change.
_COUNTS = {
    **dict.fromkeys(("accuracy", "mean_average_precision", "mean_iu"), "count"),
    **dict.fromkeys(("linear_accuracy", "knn_accuracy", "psnr_without_skips"), "monitor_count"),
}
_COSTS = (
    "Time, speed and operations are of all starts of a run together, up to its last record. Speed "
    "is the median. Operations are of training alone, counted by XLA in a forward pass and taken "
    "three times a step, once where the head alone learns; they are known where a checkpoint tells "
    "the network's shape."
)


def report(workdirs: Sequence[Path], out: Path | None = None) -> Path:
    """Writes one page of a run, or of several beside one another, and prints where it is.

    Curves, reconstructions over time, costs, and the settings that differ: between the runs, or of
    a single one from the defaults. Runs need not be finished; nothing of them is changed.

    Args:
        workdirs: of the runs.
        out: HTML file to write; None for `report.html` in the folder of the run, or of several for
            `comparison.html` in that of the first. A page that is there is replaced.

    Raises:
        UserError: a folder holds no run, or the page cannot be written.
    """
    runs = read_run_folders(workdirs)
    if out is None:
        out = workdirs[0] / ("report.html" if len(runs) == 1 else "comparison.html")
    check_place(out)
    charts = run_charts([Measured(it.label, it.verb, it.records) for it in runs])
    nothing = paragraph_html("Nothing was measured yet.")
    sections = [
        _overview(runs),
        charts_html(charts) if charts else nothing,
        *_reconstructions(runs),
        _settings(runs),
    ]
    title = runs[0].label if len(runs) == 1 else f"{len(runs)} runs beside one another"
    write_page(out, f"symskip report: {title}", sections)
    print(out)
    return out


def check_place(path: Path, option: str = "--out") -> None:
    """Sees that a page may be written: nothing is there, or a page of ours.

    Args:
        path: of the page; its folder is made.
        option: that it was given by, for the message.

    Raises:
        UserError: something else is there, or the folder cannot be written.
    """
    make_workdir(path.parent, option)
    try:
        if path.exists() and not is_page(path):
            raise UserError(f"{option} {path} exists and is no page of symskip: choose another")
    except OSError as error:
        raise UserError(f"{option} {path} is no file ({error.strerror}): choose another") from error


def _overview(runs: Sequence[RunFolder]) -> str:
    of_runs = [_facts(run) for run in runs]
    if len(runs) == 1:
        title, overview = "What became of it", facts_html(of_runs[0])
    else:
        found = dict.fromkeys(name for facts in of_runs for name in facts)
        # Figures that the first of the runs lacks stand among the others all the same.
        figures = [name for name, *_ in _FIGURES.values() if name in found]
        costs = [name for name in found if name not in figures]
        names = [*costs[:_HEAD], *figures, *costs[_HEAD:]]
        rows = [[name, *(facts.get(name, _ABSENT) for facts in of_runs)] for name in names]
        title, overview = (
            "The runs",
            table_html(["run", *(it.label for it in runs)], rows, words=True),
        )
    return section_html(title, overview, note_html(_COSTS))


def _facts(run: RunFolder) -> dict[str, str]:
    """Returns what a reader asks first, as text."""
    status, cost = run.status, run_cost(run)
    epochs = run.fields.get(f"{run.verb}.epochs", _ABSENT)
    epoch = f"{run.records[-1]['epoch']:.4g}" if run.records else "0"
    facts = {
        "kind": _KINDS.get(run.verb, run.verb),
        "data": str(run.fields.get("data.name", _ABSENT)),
        "state": _state(status),
        "epoch": f"{epoch} of {epochs}",
    }
    tests = [it for it in run.records if it["split"] != "train"]
    for key, (name, factor, digits) in _FIGURES.items():
        if tests and is_number(value := tests[-1].get(key)):
            count = tests[-1].get(_COUNTS[key]) if key in _COUNTS else None
            of = f" (of {count:,} images)" if is_number(count) else ""
            facts[name] = f"{factor * value:.{digits}f}{of}"
    facts["training time"] = _duration(cost.training_seconds)
    facts["evaluation time"] = _duration(cost.evaluation_seconds)
    facts["images/s"] = f"{cost.images_per_second:,.0f}" if cost.images_per_second else _ABSENT
    facts["operations"] = f"{cost.flops:.2e} FLOP" if cost.flops else _ABSENT
    if "device" in status:
        facts["devices"] = f"{status.get('devices', 1)} x {status['device']}"
    return facts


def _state(status: Mapping[str, Any]) -> str:
    if not status:
        return "unknown: no status.json"
    state = status["state"]
    if state in ("running", "dead"):
        return f"{state}, last heard of {status.get('updated', _ABSENT)}"
    return f"{state}: {status['message']}" if status.get("message") else state


def _reconstructions(runs: Sequence[RunFolder]) -> list[str]:
    """Returns the sheets of reconstructions over time, if there are any."""
    parts = []
    each = max(1, _SHEETS // len(runs))
    for run in runs:
        sheets = run.sheets()
        kept = (
            np.unique(np.linspace(len(sheets) - 1, 0, each).round().astype(int)) if sheets else []
        )
        epochs = {it["step"]: it["epoch"] for it in run.records}
        for step, path in [sheets[index] for index in kept]:
            when = f"step {step}" + (f", epoch {epochs[step]:.4g}" if step in epochs else "")
            parts.append(
                heading_html(f"{run.label}: {when}" if len(runs) > 1 else when.capitalize())
            )
            png = path.read_bytes()
            if is_png(png):
                alt = f"{SHEET_ALT}, {run.label}, {when}"
                parts.append(picture_html(png, alt))
            else:
                parts.append(paragraph_html(f"{path.name} is no whole PNG file."))
    if not parts:
        return []
    return [section_html("Reconstructions over time", paragraph_html(SHEET_CAPTION), *parts)]


def _settings(runs: Sequence[RunFolder]) -> str:
    """Returns the table of what differs."""
    if len(runs) == 1:
        title, columns = "Settings other than the defaults", ["default", "here"]
        known, fields = flat(base_config()), runs[0].fields
        # What the run does not say is younger than it, and was what the default is.
        settings = [known, known | fields]
    else:
        title, columns = "Settings that differ", [run.label for run in runs]
        settings = [
            {**{k: v for k, v in run.identity.items() if not k.startswith("config.")}, **run.fields}
            for run in runs
        ]
    keys = sorted({key for of_run in settings for key in of_run})
    texts = {key: [_text(of_run, key) for of_run in settings] for key in keys}
    rows = [[key, *values] for key, values in texts.items() if len(set(values)) > 1]
    table = table_html(["setting", *columns], rows, words=True) if rows else paragraph_html("None.")
    return section_html(title, table)


def _text(settings: Mapping[str, Any], key: str) -> str:
    if key not in settings:
        return _ABSENT
    value = settings[key]
    if isinstance(value, list | tuple):
        return f"({', '.join(map(str, value))})"
    return "(empty)" if value == "" else str(value)


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
