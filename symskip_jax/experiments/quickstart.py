"""`symskip quickstart`: the main job on handwritten digits, start to finish."""

import contextlib
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from symskip_jax.analysis.charts import Chart, Curve
from symskip_jax.analysis.report import Row, mean_std_text, write_report
from symskip_jax.config import load_config
from symskip_jax.experiments.finetune import finetune
from symskip_jax.experiments.pretrain import pretrain
from symskip_jax.experiments.running import versions
from symskip_jax.training.records import read_metrics
from symskip_jax.training.workdir import make_workdir

SEEDS = (0, 1, 2)
PRETRAINED = "pre-trained without labels"
SCRATCH = {"gaussian": "from scratch, Gaussian", "he": "from scratch, He"}


def quickstart(workdir: Path) -> None:
    """Pre-trains on all training images, fine-tunes on 100 labels, and compares with scratch.

    Each seed has its own order, corruption and draw of the 100 labels, the same for every start,
    and every start the same recipe of fine-tuning. Prints a table of test accuracies and writes
    `report.html`.

    Args:
        workdir: what is finished there already is not done again.
    """
    began = time.perf_counter()
    make_workdir(workdir)
    print(f"pre-training, fine-tuning and training from scratch, three seeds each, in {workdir}")
    runs: dict[str, list[Path]] = {name: [] for name in (PRETRAINED, *SCRATCH.values())}
    for seed in SEEDS:
        folder = workdir / f"seed_{seed}"
        config = _config(seed)
        _run(f"seed {seed}: pre-training", folder / "pretrain", lambda w, c=config: pretrain(c, w))
        runs[PRETRAINED].append(folder / "finetune")
        _run(
            f"seed {seed}: {PRETRAINED}",
            folder / "finetune",
            lambda w, c=config: finetune(c, w, w.parent / "pretrain"),
        )
        for init, name in SCRATCH.items():
            config = _config(seed, f"model.init={init}")
            runs[name].append(folder / f"scratch_{init}")
            _run(f"seed {seed}: {name}", runs[name][-1], lambda w, c=config: finetune(c, w))
    seconds = time.perf_counter() - began
    table = [Row(name, [_accuracy(run) for run in of_name]) for name, of_name in runs.items()]
    summary = summarize(table)
    print(f"\ntest accuracy in %, mean ± standard deviation over {len(SEEDS)} seeds")
    for row in table:
        print(f"  {row.name:<28}{mean_std_text(row.values)}")
    print(f"\n{summary}\n{seconds:.0f} s in all; curves and pictures: {workdir / 'report.html'}")
    write_report(
        workdir / "report.html",
        title="symskip quickstart: handwritten digits, 100 labels",
        summary=summary,
        table=table,
        value_label="test accuracy (%)",
        charts=_charts([workdir / f"seed_{seed}" / "pretrain" for seed in SEEDS], runs),
        sheet_png=max((workdir / "seed_0" / "pretrain" / "images").glob("step_*.png")),
        facts=_facts(_config(SEEDS[0]), seconds),
    )


def summarize(table: list[Row]) -> str:
    """Says in plain words what pre-training changed, against the better of the random starts."""
    pretrained, *scratch = table
    better = max(scratch, key=lambda row: statistics.fmean(row.values))
    gain = statistics.fmean(pretrained.values) - statistics.fmean(better.values)
    spread = max(statistics.stdev(row.values) for row in (pretrained, better))
    verdict = "more than" if gain > spread else "not more than"
    return (
        f"With 100 labels, pre-training on all training images without their labels changes test "
        f"accuracy by {gain:+.1f} points against the better of two random starts ({better.name}). "
        f"That is {verdict} the spread of the seeds, {spread:.1f} points."
    )


def _config(seed: int, *settings: str) -> ConfigDict:
    fields = (f"seed={seed}", f"data.labels_seed={seed}", *settings)
    return load_config("digits", [f"--config.{field}" for field in fields])


def _run(title: str, workdir: Path, train: Callable[[Path], Any]) -> None:
    """Runs one training, its own lines going to `log.txt`, and says in a line what came out."""
    make_workdir(workdir)
    began = time.perf_counter()
    with (workdir / "log.txt").open("a") as log, contextlib.redirect_stderr(log):
        train(workdir)
    last = _tests(workdir)[-1]
    figures = (
        f"accuracy {last['accuracy']:.1%}"
        if "accuracy" in last
        else f"PSNR {last['psnr']:.1f} dB (its input {last['psnr_identity']:.1f} dB)"
    )
    print(f"  {title:<38}{figures}, {time.perf_counter() - began:.0f} s", flush=True)


def _tests(workdir: Path) -> list[dict[str, Any]]:
    return [record for record in read_metrics(workdir) if record["split"] == "test"]


def _accuracy(workdir: Path) -> float:
    return 100 * _tests(workdir)[-1]["accuracy"]


def _charts(pretrainings: list[Path], runs: dict[str, list[Path]]) -> list[Chart]:
    losses = []
    for workdir in pretrainings:
        records = [record for record in read_metrics(workdir) if record["split"] == "train"]
        epochs, values = ([record[key] for record in records] for key in ("epoch", "loss"))
        losses.append(Curve(PRETRAINED, epochs, values))
    accuracies = []
    for name, of_name in runs.items():
        for workdir in of_name:
            records = _tests(workdir)
            epochs = [record["epoch"] for record in records]
            accuracies.append(Curve(name, epochs, [100 * r["accuracy"] for r in records]))
    return [
        Chart(
            title="Pre-training: reconstruction loss",
            x_label="epoch",
            y_label="mean squared error",
            curves=losses,
            caption="Training loss, in units of the pixels' variance. One line a seed.",
            log_y=True,
        ),
        Chart(
            title="With 100 labels: test accuracy",
            x_label="epoch",
            y_label="accuracy (%)",
            curves=accuracies,
            caption="Measured on test images that no training saw. One line a seed.",
        ),
    ]


def _facts(config: ConfigDict, seconds: float) -> dict[str, str]:
    model, used = config.model, versions()
    return {
        "command": "symskip quickstart",
        "time": f"{seconds:.0f} s in all, without what an earlier start had finished",
        "hardware": f"{platform.machine()}, {os.cpu_count()} CPU cores, "
        f"JAX on {jax.device_count()} x {jax.devices()[0].device_kind}",
        "network": f"{model.name}, blocks {tuple(model.blocks)}, {model.n} filters in the first",
        "corruption": f"{config.corruption.num_blocks} blocks of "
        f"{config.corruption.block_size[0]}x{config.corruption.block_size[1]} pixels masked",
        "versions": ", ".join(f"{name} {version}" for name, version in used.items()),
    }
