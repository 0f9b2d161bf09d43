"""A contender in a process of its own: reads orders, lines of JSON, and answers each with a line.

    python -m symskip_jax.bench.worker ours FOLDER

It ends when its input does. Whatever libraries print goes to standard error.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from symskip_jax.errors import UserError
from symskip_jax.memory import keep_freed_memory

OURS = "ours"
MACHINE = "machine"
TRAIN = "train"
EVERYWHERE = "ours_everywhere"


def main() -> None:
    """Answers orders until there are no more."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("folder", type=Path, help="of the problem")
    parser.add_argument("--platform")
    arguments = parser.parse_args()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def answer(work: Callable[[], dict[str, Any]]) -> bool:
        began = time.perf_counter()
        try:
            facts = {**work(), "seconds": time.perf_counter() - began}
        # Whatever it is, whoever waits for an answer is told, and the traceback is in the log.
        except Exception as error:
            sys.excepthook(type(error), error, error.__traceback__)
            facts = {"error": _line(error)}
        answers.write(json.dumps(facts) + "\n")
        answers.flush()
        return "error" not in facts

    orders: dict[str, Callable[..., dict[str, Any]]] = {}

    def start() -> dict[str, Any]:
        made, facts = _build(arguments.name, arguments.folder, arguments.platform)
        orders.update(made)
        return facts

    if not answer(start):
        return
    for line in sys.stdin:
        order = json.loads(line)
        answer(lambda order=order: orders[order.pop("do")](**order))


def _build(
    name: str, folder: Path, platform: str | None
) -> tuple[dict[str, Callable[..., dict[str, Any]]], dict[str, Any]]:
    """Returns what can be ordered, and facts about the one who does it."""
    from symskip_jax.bench.problem import Problem

    problem = Problem.load(folder)
    if name in (OURS, EVERYWHERE, TRAIN):
        keep_freed_memory()  # as the command does
    if name == TRAIN:
        from symskip_jax.bench.epochs import train_epochs

        return {"train": lambda **order: train_epochs(problem, folder, **order)}, {}
    if name == MACHINE:
        from symskip_jax.bench.machine import Machine

        machine = Machine(problem)
        return {
            "multiply": lambda times: {"operations": machine.multiply(times)},
            "move": lambda times: {"bytes": machine.move(times)},
        }, machine.facts()
    from symskip_jax.bench.contender import load_contender

    contender = load_contender(name, problem, platform)

    def run(steps: int) -> dict[str, Any]:
        contender.run(steps)
        return {}

    def run_transform(steps: int) -> dict[str, Any]:
        contender.run_transform(steps)  # type: ignore[attr-defined]  (ours alone has it)
        return {}

    return {
        "run": run,
        "transform": run_transform,
        "check": contender.check,
        "peak": lambda: {"bytes": contender.peak_bytes()},
    }, contender.facts()


def _line(error: Exception) -> str:
    first = next(iter(str(error).strip().splitlines()), "")
    return first if isinstance(error, UserError) else f"{type(error).__name__}: {first}"


if __name__ == "__main__":
    main()
