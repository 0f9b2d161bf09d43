"""A whole run of `symskip pretrain`, and when its epochs ended, told by its own logs."""

import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tensorboardX.proto.event_pb2 import Event

from symskip_jax.bench.problem import Problem
from symskip_jax.config import config_from_flat
from symskip_jax.experiments.pretrain import pretrain
from symskip_jax.training.records import read_metrics

# The first compiles, and its end is the first time that anything is evaluated and saved.
EPOCHS = 3


def train_epochs(problem: Problem, folder: Path) -> dict[str, Any]:
    """Pre-trains three epochs and times the third, from the last step of the second to its own.

    In it are the steps, how their images get there, checks, logs, and the checkpoint that follows
    the second epoch, if the configuration has one; the evaluation that follows it too is told
    apart.

    Args:
        problem: whose configuration and images are used.
        folder: for data and run, which is removed.

    Returns:
        `epoch_s`; of it, in dispatches of steps, `dispatches_s`; and `evaluation_s` of it apart.
    """
    images, workdir = folder / "images.npz", folder / "run"
    if not images.exists():
        tested = problem.images[: max(1, len(problem.images) // 5)]
        np.savez(images, train_images=problem.images, test_images=tested)
    config = config_from_flat(problem.config)
    config.data.update(
        name=f"npz:{images}",
        train_split="train",
        test_split="test",
        pretrain_name="",
        pretrain_split="",
    )
    config.pretrain.epochs = EPOCHS
    config.run.eval_every = 1.0
    try:
        pretrain(config, workdir)
        records = read_metrics(workdir)
        ended = dict(_times_of_steps(workdir))
    finally:
        shutil.rmtree(workdir, ignore_errors=True)
    steps_per_epoch = len(problem.images) // problem.batch_size
    first, last = (EPOCHS - 1) * steps_per_epoch, EPOCHS * steps_per_epoch
    (evaluation_s,) = [
        it["seconds"] for it in records if it["split"] == "test" and it["step"] == first
    ]
    dispatches = [it for it in records if it["split"] == "train" and it["step"] > first]
    return {
        "epoch_s": ended[last] - ended[first] - evaluation_s,
        "dispatches_s": sum(it["seconds"] for it in dispatches),
        "evaluation_s": evaluation_s,
    }


def _times_of_steps(workdir: Path) -> Iterator[tuple[int, float]]:
    """Yields steps whose loss was logged, and when, in seconds: metrics.jsonl has no clock."""
    for path in (workdir / "tensorboard").iterdir():
        content, at = path.read_bytes(), 0
        while at < len(content):  # records of length, its checksum, an event, its checksum
            (length,) = struct.unpack_from("<Q", content, at)
            event: Any = Event.FromString(content[at + 12 : at + 12 + length])
            at += 12 + length + 4
            if any(value.tag == "train/loss" for value in event.summary.value):
                yield event.step, event.wall_time
