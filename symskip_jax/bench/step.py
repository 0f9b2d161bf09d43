"""`symskip bench step`: the pre-training step beside its peers, in turns within one run."""

import contextlib
import statistics
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from symskip_jax.bench.agreement import assert_agrees, differences, tolerances_of
from symskip_jax.bench.posing import pose
from symskip_jax.bench.problem import Problem
from symskip_jax.bench.processes import Worker, WorkerError, saved
from symskip_jax.bench.setting import (
    configured_command,
    describe_setting,
    make_room,
    spread,
    write_results,
)
from symskip_jax.bench.tables import step_lines
from symskip_jax.bench.worker import MACHINE, OURS
from symskip_jax.errors import UserError
from symskip_jax.experiments import setup
from symskip_jax.models.flops import step_flops

PRODUCTS = 10  # matrix products, and moves of memory, of a timing


def bench_step(config: ConfigDict, overrides: Sequence[str], arguments: Namespace) -> None:
    """Times, prints a table and writes the results.

    Args:
        config: whose `pretrain` step is timed.
        overrides: with which it was loaded, for the record.
        arguments: see `symskip_jax.bench.arguments`.

    Raises:
        UserError: the configuration is wrong, or a peer computes something else than we do.
    """
    make_room(arguments.out)
    problem = pose(config, arguments.image_size, arguments.images)
    options = {
        name: getattr(arguments, name)
        for name in ("peers", "rounds", "steps", "warmup", "images", "image_size")
    }
    command = configured_command("step", arguments.config, overrides, options)
    facts = _facts(config, problem)
    results: dict[str, Any] = {"setting": describe_setting(command), "problem": facts}
    try:
        with saved(problem) as folder, contextlib.ExitStack() as workers:
            results |= _measure(workers, facts["dtype"], folder, arguments)
    except WorkerError as error:
        raise UserError(f"the benchmark could not go on: {error}") from error
    results["summary"] = summarize(facts["flops_per_step"], problem.batch_size, results["rounds"])
    write_results(results, arguments.out)
    print("\n".join(step_lines(results)))


def _measure(
    workers: contextlib.ExitStack, dtype: str, folder: Path, arguments: Namespace
) -> dict[str, Any]:
    ours = workers.enter_context(Worker(OURS, folder))
    started = {OURS: _begin(ours)}
    contenders, left_out = {OURS: ours}, {}
    for name in dict.fromkeys(arguments.peers):
        # A peer may lack a library, a compiler or a device, which is no reason to time nothing.
        peer = None
        try:
            peer = Worker(name, folder, ours.facts["platform"])
            started[name] = _begin(peer)
            # CUDA graphs are recorded at the second call and replayed from the third on.
            peer.ask("run", steps=max(3, arguments.warmup))
            contenders[name] = workers.enter_context(peer)
        except WorkerError as error:
            if peer is not None:
                peer.close()
            left_out[name] = str(error)
            print(f"{name} is left out: {error}", file=sys.stderr)
    checked = check(contenders, dtype)
    machine = workers.enter_context(Worker(MACHINE, folder))
    for worker in contenders.values():  # the check began anew
        worker.ask("run", steps=arguments.warmup)
    ours.ask("transform", steps=arguments.warmup)
    machine.ask("multiply", times=1)
    machine.ask("move", times=1)
    rounds = []
    for number in range(arguments.rounds):
        rounds.append(_round(contenders, machine, arguments.steps, backwards=number % 2 == 1))
        speeds = ", ".join(f"{name} {1000 * it:.1f}" for name, it in rounds[-1]["step_s"].items())
        print(f"round {number + 1} of {arguments.rounds}: ms a step of {speeds}", file=sys.stderr)
    peaks = {name: worker.ask("peak")["bytes"] for name, worker in contenders.items()}
    return {
        "device": {"machine": machine.facts, **{k: w.facts for k, w in contenders.items()}},
        "check": checked,
        "left_out": left_out,
        "contenders": {name: {**started[name], "peak_bytes": peaks[name]} for name in contenders},
        "rounds": rounds,
    }


def _begin(worker: Worker) -> dict[str, float]:
    """Takes the first step, compilation included, and says how long it took."""
    first = worker.ask("run", steps=1)["seconds"]
    print(f"{worker.name}: up in {worker.start_s:.0f} s, first step {first:.0f} s", file=sys.stderr)
    return {"start_s": worker.start_s, "first_step_s": first}


def check(contenders: dict[str, Worker], dtype: str) -> dict[str, Any]:
    """Sees that all contenders compute what ours does, and returns how far apart they are.

    Raises:
        UserError: one computes something else.
    """
    tolerances = tolerances_of(dtype, contenders[OURS].facts["platform"])
    figures = {name: worker.ask("check") for name, worker in contenders.items()}
    for of_one in figures.values():
        del of_one["seconds"]
    peers = {name: it for name, it in figures.items() if name != OURS}
    for name, it in peers.items():
        assert_agrees(name, figures[OURS], it, tolerances)
    return {
        "tolerances": tolerances,
        "figures": figures,
        "relative_differences": {
            name: differences(figures[OURS], it) for name, it in peers.items()
        },
    }


def _round(
    contenders: dict[str, Worker], machine: Worker, steps: int, *, backwards: bool
) -> dict[str, Any]:
    """Times everything once; every second round backwards, so that drift favours nobody."""
    seconds = {}
    for name in reversed(contenders) if backwards else contenders:
        seconds[name] = contenders[name].ask("run", steps=steps)["seconds"] / steps
    transform = contenders[OURS].ask("transform", steps=steps)["seconds"] / steps
    products = machine.ask("multiply", times=PRODUCTS)
    moves = machine.ask("move", times=PRODUCTS)
    return {
        "step_s": {name: seconds[name] for name in contenders},
        "transform_s": transform,
        "matrix_flop_per_s": products["operations"] / products["seconds"],
        "moved_bytes_per_s": moves["bytes"] / moves["seconds"],
    }


def summarize(flops: int, batch_size: int, rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns medians over the rounds, and ratios taken round by round.

    Args:
        flops: operations of a step.
        batch_size: images of a step.
        rounds: what was measured.
    """
    contenders = {}
    for name in rounds[0]["step_s"]:
        step_s = statistics.median(it["step_s"][name] for it in rounds)
        contenders[name] = {
            "step_s": step_s,
            "images_per_s": batch_size / step_s,
            "flop_per_s": flops / step_s,
            "share_of_matrix_rate": statistics.median(
                flops / it["step_s"][name] / it["matrix_flop_per_s"] for it in rounds
            ),
        }
    ratios = {
        name: spread([it["step_s"][name] / it["step_s"][OURS] for it in rounds])
        for name in contenders
        if name != OURS
    }
    return {
        "contenders": contenders,
        "times_as_fast_as": ratios,
        "transform_share": spread([it["transform_s"] / it["step_s"][OURS] for it in rounds]),
        "matrix_flop_per_s": statistics.median(it["matrix_flop_per_s"] for it in rounds),
        "moved_bytes_per_s": statistics.median(it["moved_bytes_per_s"] for it in rounds),
    }


def _facts(config: ConfigDict, problem: Problem) -> dict[str, Any]:
    def count(tree: dict[str, Any]) -> int:
        return sum(count(it) if isinstance(it, dict) else it.size for it in tree.values())

    spec, channels = setup.make_spec(config), problem.images.shape[-1]
    return {
        "network": setup.spec_facts(spec),
        "skip": config.model.skip,
        "dtype": config.model.dtype,
        "corruption": config.corruption.kind,
        "batch_size": problem.batch_size,
        "crop": list(problem.crop),
        "images": list(problem.images.shape),
        "parameters": count(problem.params),
        "flops_per_step": step_flops(spec, channels, problem.crop, problem.batch_size),
    }
