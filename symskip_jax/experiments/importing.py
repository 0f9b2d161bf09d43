"""`symskip import`: a safetensors file of `symskip export` as a run again."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from symskip_jax.config import config_from_flat, flat
from symskip_jax.errors import UserError
from symskip_jax.experiments import setup
from symskip_jax.experiments.checks import check_config
from symskip_jax.experiments.export import Exported, choose_part, exported_part
from symskip_jax.experiments.figures import check_figures
from symskip_jax.experiments.origin import how_learnt, trainings_before
from symskip_jax.interop import naming
from symskip_jax.interop.parts import variable_shapes
from symskip_jax.interop.tensor_file import TensorFile, check_shapes, read_tensor_file
from symskip_jax.training.checkpoints import Checkpoints
from symskip_jax.training.state import TrainState
from symskip_jax.training.workdir import claim_workdir, make_workdir


def import_file(path: Path, workdir: Path) -> None:
    """Makes a folder of a run, with one checkpoint, of a file.

    What goes on from a run goes on from it: `finetune --init`, `evaluate`, `restore`, `probe`,
    `visualize`, `export`; from an encoder alone, `finetune --init` and `export`. Training itself
    does not, as the file has no state of an optimiser.

    Args:
        path: of a file of `symskip export --format safetensors`. Nothing in it is run.
        workdir: made if missing; importing the same file there again changes nothing.

    Raises:
        UserError: the file is broken or no such file, or the folder holds something else.
    """
    file = read_tensor_file(path)
    meta, step, exported = _checked(path, file)
    facts = exported.facts
    shapes = variable_shapes(facts.part, exported.model, (*facts.image_size, facts.channels))
    expected: dict[str, tuple[int, ...]] = {}
    for tree in (shapes["params"], shapes["batch_stats"]):
        expected |= naming.torch_shapes(tree, facts.head)
    check_shapes(path, file.tensors, expected)
    trees = {
        name: naming.from_torch(file.tensors, tree, facts.head) for name, tree in shapes.items()
    }
    state = TrainState(
        step=jnp.asarray(step, jnp.int32),
        params=jax.tree.map(jnp.asarray, trees["params"]),
        batch_stats=jax.tree.map(jnp.asarray, trees["batch_stats"]),
        opt_state={},
        key=jax.random.key_data(jax.random.key(meta["config"]["seed"])),
    )
    identity = {
        "verb": "import",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        **{f"config.{key}": value for key, value in meta["config"].items()},
    }
    _require_own(workdir)
    with claim_workdir(workdir, identity, {}):
        checkpoints = Checkpoints(workdir / "checkpoints", "psnr")
        checkpoints.save(state, {**meta, "imported": identity["sha256"]})
        checkpoints.finish(state, f"{path} was read")
        checkpoints.close()
    print(f"{workdir}: {facts.part} of step {step}, {len(file.tensors)} tensors of {path}")


def _checked(path: Path, file: TensorFile) -> tuple[dict[str, Any], int, Exported]:
    """Returns the meta of the checkpoint to be, its step, and the network.

    Raises:
        UserError: the metadata of the file contradict themselves or are broken.
    """
    try:
        meta, step = dict(file.run["meta"]), file.run["step"]
        if type(step) is not int or not 0 <= step < 2**31:
            raise ValueError(f"the step is {step!r}")
        config = config_from_flat(meta["config"])
        check_config(config)
        _check_depth(config, file)
        meta["config"] = flat(config)
        part = choose_part(meta, file.network.part, path)
        exported = exported_part(meta, step, part)
        how_learnt(meta)  # which can be said
        trainings_before(meta)
        check_figures(meta.get("figures", {}))
    # Whatever the configuration, which may come from anywhere, is stumbled over for.
    except Exception as error:
        raise UserError(
            f"{path} cannot be read: its metadata are broken ({' '.join(str(error).split())[:200]})"
        ) from error
    said, found = dataclasses.asdict(file.network), dataclasses.asdict(exported.facts)
    differing = [key for key in said if said[key] != found[key]]
    if meta.get("spec") != setup.spec_facts(exported.model.spec):
        differing.append("spec")
    if differing:
        raise UserError(
            f"{path} cannot be read: its metadata contradict themselves in {', '.join(differing)}"
        )
    if part == "encoder":
        meta["verb"] = "import"  # it is no whole network of another verb
    return meta, step, exported


def _check_depth(config: ConfigDict, file: TensorFile) -> None:
    """Checks that no list of absurd length would be made."""
    depth = sum(config.model.blocks) if config.model.name == "network_1" else config.model.depth
    if config.model.name in ("network_1", "wide_resnet") and depth > len(file.tensors):
        raise ValueError(f"a network of {depth} layers has more tensors than the file")


def _require_own(workdir: Path) -> None:
    """Checks that a folder is new, or one that this verb made.

    Raises:
        UserError: it holds a run, or cannot be looked at.
    """
    make_workdir(workdir)
    path = workdir / "config.json"
    try:
        if not path.exists() and not (workdir / "checkpoints").exists():
            return
        is_own = json.loads(path.read_text())["verb"] == "import"
    except (OSError, ValueError, KeyError, TypeError):
        is_own = False
    if not is_own:
        raise UserError(f"--workdir {workdir} holds a run already; choose another")
