"""`symskip bench train`: a whole epoch of `symskip pretrain` beside its steps alone."""

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from symskip_jax.bench.posing import pose
from symskip_jax.bench.processes import Worker, WorkerError, saved
from symskip_jax.bench.setting import (
    configured_command,
    describe_setting,
    make_room,
    spread,
    write_results,
)
from symskip_jax.bench.tables import train_lines
from symskip_jax.bench.worker import EVERYWHERE, TRAIN
from symskip_jax.errors import UserError

BATCHES = 40  # of an epoch, where nobody says how many images it has


def bench_train(config: ConfigDict, overrides: Sequence[str], arguments: Namespace) -> None:
    """Times, prints a table and writes the results.

    Args:
        config: whose pre-training is timed, on random images.
        overrides: with which it was loaded, for the record.
        arguments: see `symskip_jax.bench.arguments`.

    Raises:
        UserError: the configuration is wrong.
    """
    make_room(arguments.out)
    num_images = arguments.images or BATCHES * config.pretrain.batch_size
    problem = pose(config, arguments.image_size, num_images)
    options = {name: getattr(arguments, name) for name in ("rounds", "images", "image_size")}
    command = configured_command("train", arguments.config, overrides, options)
    steps_per_epoch = num_images // problem.batch_size
    results: dict[str, Any] = {
        "setting": describe_setting(command),
        "problem": {
            "batch_size": problem.batch_size,
            "steps_per_epoch": steps_per_epoch,
            "crop": list(problem.crop),
            "images": list(problem.images.shape),
            "dtype": config.model.dtype,
            "checkpoint_every": config.run.checkpoint_every,
        },
    }
    try:
        with saved(problem) as folder:
            results |= _measure(folder, steps_per_epoch, arguments.rounds)
    except WorkerError as error:
        raise UserError(f"the benchmark could not go on: {error}") from error
    write_results(results, arguments.out)
    print("\n".join(train_lines(results)))


def _measure(folder: Path, steps_per_epoch: int, rounds: int) -> dict[str, Any]:
    with Worker(EVERYWHERE, folder) as alone, Worker(TRAIN, folder) as whole:
        alone.ask("run", steps=steps_per_epoch)
        measured = []
        for number in range(rounds):
            steps_s = alone.ask("run", steps=steps_per_epoch)["seconds"]
            run = whole.ask("train")
            del run["seconds"]
            measured.append({"steps_s": steps_s, **run})
            print(
                f"round {number + 1} of {rounds}: epoch {run['epoch_s']:.2f} s, steps alone "
                f"{steps_s:.2f} s",
                file=sys.stderr,
            )
        ratios = [it["epoch_s"] / it["steps_s"] for it in measured]
        return {
            "device": {"ours": alone.facts},
            "rounds": measured,
            "summary": {"epoch_over_steps": spread(ratios)},
        }
