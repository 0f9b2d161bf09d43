"""Compiles the pre-training step for more and more devices and lists what they say to each other.

    python -m symskip_jax.bench.scaling --config cifar10 --out results/scaling/cifar10.json
    python -m symskip_jax.bench.scaling --config cifar10 --grow --out results/scaling/growth.json

Nothing is run and no array is made: the devices are simulated ones, or a TPU's from its compiler
alone (`--topologies v4:4x4x4`, which needs `pip install libtpu` and no TPU).
"""

import argparse
import collections
import concurrent.futures
import functools
import json
import multiprocessing
import shlex
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import topologies
from jax.sharding import Mesh
from ml_collections import ConfigDict

from symskip_jax.bench.collectives import collectives
from symskip_jax.config import apply_overrides, load_config
from symskip_jax.errors import UserError
from symskip_jax.experiments import setup
from symskip_jax.experiments.checks import check_config
from symskip_jax.experiments.objective import check_plain
from symskip_jax.experiments.running import make_optimizer, make_schedule
from symskip_jax.training.mesh import (
    jit_step,
    split_over_devices,
    state_shardings,
    with_shardings,
)
from symskip_jax.training.state import init_state
from symskip_jax.training.steps import pretrain_step
from symskip_jax.transforms import Normalization, PretrainTransform

CHANNELS = 3
MARGIN = 3  # pixels that images are larger than the crop: 32 for the paper's 29
NORMALIZATION = Normalization((120.0,) * CHANNELS, (60.0,) * CHANNELS)
DEVICES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
# What --grow changes, one thing at a time: name, overrides, images of a device.
GROWTH = [
    ("nothing", (), 32),
    *(("batch", (), batch) for batch in (16, 64)),
    *(("width", (f"--config.model.n={n}",), 32) for n in (64, 256)),
    *(("image", (f"--config.data.crop=({side}, {side})",), 32) for side in (57, 113)),
]


def main(arguments: Sequence[str] | None = None) -> int:
    """Compiles what was asked for, writes the JSON and returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options, overrides = _parse(given)
    jobs: list[dict[str, Any]]
    if options.grow:
        jobs = [
            {"changed": name, "overrides": (*overrides, *more), "per_device": batch, "on": 1}
            for name, more, batch in GROWTH
        ]
    else:
        on = options.topologies or options.devices
        jobs = [{"overrides": overrides, "per_device": options.per_device, "on": n} for n in on]
    try:
        records = [_in_a_process_of_its_own(options.config, job) for job in jobs]
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    text = {
        "command": shlex.join(["python", "-m", "symskip_jax.bench.scaling", *given]),
        "versions": {name: version(name) for name in ("jax", "flax")},
        "records": records,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(text, indent=1) + "\n")
    return 0


def lowered_step(
    config: ConfigDict, mesh: Mesh, per_device: int
) -> tuple[jax.stages.Lowered, dict[str, int]]:
    """Lowers the pre-training step of a configuration over a mesh, for abstract arguments.

    Args:
        config: the whole configuration; its batch size is left aside.
        mesh: devices that are there, or those of a topology.
        per_device: images of a device.

    Returns:
        The lowered step, and facts: `devices`, `per_device`, `image_side` (that the network sees),
        `parameters`, and `kernel_parameters` (those with more than one axis).

    Raises:
        UserError: something in the configuration is wrong.
    """
    check_config(config)
    check_plain(config)
    groups = setup.batch_norm_groups(config, mesh.size)
    model = setup.make_autoencoder(config, CHANNELS).clone(batch_norm_groups=groups)
    optimizer = make_optimizer(config.pretrain, make_schedule(config.pretrain, 1), 1)
    optimizer = setup.spread_optimizer(config, optimizer, mesh)
    transform = PretrainTransform(
        setup.make_augmentation(config), setup.make_corruption(config, NORMALIZATION)
    )
    step = functools.partial(
        pretrain_step,
        model=model,
        optimizer=optimizer,
        transform=transform,
        normalization=NORMALIZATION,
        accumulate=config.pretrain.accumulate,
    )
    crop, split = tuple(config.data.crop), split_over_devices(mesh)
    # Where windows are cut on the host, the step gets them as they are.
    margin = MARGIN if config.data.view == "crop" else 0
    size = tuple(side + margin for side in crop)
    state = jax.eval_shape(lambda: init_state(model, optimizer, 0, (*crop, CHANNELS)))
    shardings = state_shardings(state, mesh, config.run.shard_optimizer)
    state = with_shardings(state, shardings)
    shape = (per_device * mesh.size, *size, CHANNELS)
    batch = {"image": jax.ShapeDtypeStruct(shape, jnp.uint8, sharding=split)}
    params = jax.tree.leaves(state.params)
    facts = {
        "devices": mesh.size,
        "per_device": per_device,
        "image_side": crop[0],
        "parameters": sum(x.size for x in params),
        "kernel_parameters": sum(x.size for x in params if x.ndim > 1),
    }
    return jit_step(step, mesh, shardings).lower(state, batch), facts


def summarize(hlo: str) -> list[dict[str, Any]]:
    """Returns the collectives of a compiled module as JSON holds them, equal ones counted."""
    counted = collections.Counter(
        (it.kind, it.purpose, it.bytes, it.group_size, it.is_async) for it in collectives(hlo)
    )
    names = ("kind", "purpose", "bytes", "group_size", "is_async")
    return [{**dict(zip(names, it, strict=True)), "count": count} for it, count in counted.items()]


def measure(config_name: str, job: dict[str, Any]) -> dict[str, Any]:
    """Compiles one step and returns what is known of it; JAX must not have been used before.

    Args:
        config_name: file or name of the configuration.
        job: `on` (a number of simulated devices, or a TPU's topology), `per_device`, `overrides`.

    Returns:
        The job, the facts of `lowered_step`, `collectives` of `summarize`, `compile_s`, and of one
        device and step: `flops` and `bytes_accessed` (XLA's counts), `state_bytes` (the memory
        that the state stays in) and `temp_bytes` (that everything else needs beside arguments).

    Raises:
        UserError: something in the configuration is wrong, or there is no such topology.
    """
    config = apply_overrides(load_config(config_name), job["overrides"])
    if isinstance(job["on"], int):
        jax.config.update("jax_num_cpu_devices", job["on"])
        devices = None
    else:
        devices = _topology(job["on"])
    mesh = setup.make_mesh(config, devices)
    lowered, facts = lowered_step(config, mesh, job["per_device"])
    start = time.perf_counter()
    compiled = lowered.compile()
    compile_s = time.perf_counter() - start
    cost, memory = compiled.cost_analysis(), compiled.memory_analysis()
    hlo = compiled.as_text()
    if cost is None or memory is None or hlo is None:
        raise UserError("this backend of JAX tells nothing of a compiled step; update jaxlib")
    return {
        **job,
        **facts,
        "n": config.model.n,
        "dtype": config.model.dtype,
        "flops": cost["flops"],
        "bytes_accessed": cost["bytes accessed"],
        "state_bytes": memory.alias_size_in_bytes,
        "temp_bytes": memory.temp_size_in_bytes,
        "compile_s": round(compile_s, 1),
        "collectives": summarize(hlo),
    }


def _topology(name: str) -> Sequence[Any]:
    try:
        # A v4 chip is one device to JAX, its two cores together.
        return topologies.get_topology_desc(
            name, "tpu", **({"chip_config_name": "megacore"} if name.startswith("v4:") else {})
        ).devices
    except Exception as error:
        first = str(error).partition("\n")[0]
        raise UserError(
            f"--topologies {name} is not to be had ({first}); it takes pip install libtpu, and a "
            "name like v4:4x4x4"
        ) from error


def _in_a_process_of_its_own(config_name: str, job: dict[str, Any]) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        record = pool.submit(measure, config_name, job).result()
    count = sum(it["count"] for it in record["collectives"])
    size = sum(it["count"] * it["bytes"] for it in record["collectives"])
    print(f"{job}: {count} collectives of {size} bytes, compiled in {record['compile_s']} s")
    return record


def _parse(given: Sequence[str]) -> tuple[argparse.Namespace, tuple[str, ...]]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", required=True, help="configuration, as of `symskip pretrain`")
    parser.add_argument("--devices", type=int, nargs="+", default=DEVICES, help="simulated ones")
    parser.add_argument("--topologies", nargs="+", help="of TPUs, instead: v4:4x4x4 is a v4-128")
    parser.add_argument("--per_device", type=int, default=32, help="images of a device")
    parser.add_argument("--grow", action="store_true", help="batch, width and image, on one device")
    parser.add_argument("--out", type=Path, required=True, help="JSON that is written")
    options, rest = parser.parse_known_args(given)
    for word in rest:
        if not word.startswith("--config.") or "=" not in word:
            parser.error(f"unknown argument {word}; fields are set as --config.key=value")
    return options, tuple(rest)


if __name__ == "__main__":
    sys.exit(main())
