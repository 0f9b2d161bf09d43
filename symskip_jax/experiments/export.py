"""`symskip export`: a run's network as a file for torch, for runtimes of ONNX, or for JAX alone."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from symskip_jax.analysis.files import write_atomically
from symskip_jax.config import config_from_flat
from symskip_jax.errors import UserError
from symskip_jax.experiments import setup
from symskip_jax.experiments.evaluate import choose_step, skip_strength
from symskip_jax.experiments.figures import figures_of
from symskip_jax.experiments.origin import how_learnt, settings_of, trainings_before
from symskip_jax.extras import how_to_install
from symskip_jax.interop import naming
from symskip_jax.interop.facts import NetworkFacts, to_json
from symskip_jax.interop.model_card import model_card
from symskip_jax.interop.parts import on_pixels, variables_of_part
from symskip_jax.interop.stablehlo import stablehlo_bytes
from symskip_jax.interop.tensor_file import tensor_file_bytes
from symskip_jax.training.checkpoints import Restored, load_variables
from symskip_jax.training.workdir import make_workdir

# What `symskip import` puts into the checkpoint that it makes; the rest tells of one machine.
_KEPT = (
    *("verb", "task", "spec", "channels", "class_names", "normalization", "config", "versions"),
    *("skip", "skip_placement", "skip_gate", "bottleneck", "skip_fade_steps"),
    *("num_labels", "init_step", "origin", "batch_norm_groups", "input"),
)


class Exported(NamedTuple):
    """A part of a checkpoint's network.

    Attributes:
        facts: what it is.
        config: of the run, but that it computes in float32.
        model: the whole network.
    """

    facts: NetworkFacts
    config: ConfigDict
    model: Any


def export(
    workdir: Path,
    *,
    form: str,
    part: str | None = None,
    step: str = "latest",
    out: Path | None = None,
    data_license: str | None = None,
) -> Path:
    """Writes a checkpoint's network to a file, with a model card beside it.

    The network computes in float32, whatever `config.model.dtype` was. Nothing is replaced: the
    same export may be written again, and another file of that name is left alone.

    Args:
        workdir: of the run.
        form: safetensors, stablehlo or onnx.
        part: of `symskip_jax.interop.facts.PARTS`; None for what the run trained.
        step: `latest`, `best` or a number.
        out: the file; None for one in `exports` in the folder of the run.
        data_license: of what it was trained on, for the card.

    Returns:
        The file.

    Raises:
        UserError: there is no such checkpoint or part, the format does not know such a network, or
            the file is there already or cannot be written.
    """
    restored = load_variables(workdir, choose_step(workdir, step))
    number = int(restored.state["step"])
    figures = figures_of(restored.meta, number, workdir)
    exported = exported_part(restored.meta, number, choose_part(restored.meta, part, workdir))
    facts, _, model = exported
    if out is None:
        out = workdir / "exports" / f"{facts.part}_{number:08d}.{form}"
    variables = variables_of_part(facts.part, setup.variables_of(restored))
    if form == "stablehlo":
        size = None if facts.any_size else facts.image_size
        content = stablehlo_bytes(on_pixels(facts, model, variables), facts.channels, size)
    else:
        _require_plain(exported, form)
        trees = variables["params"], variables["batch_stats"]
        tensors = {k: v for tree in trees for k, v in naming.to_torch(tree, facts.head).items()}
        kept = {key: restored.meta[key] for key in _KEPT if key in restored.meta}
        if figures is not None:
            kept["figures"] = figures
        content = _writer(form)(tensors, facts, {"step": number, "meta": kept})
    sha256 = hashlib.sha256(content).hexdigest()
    card = model_card(
        name=out.name,
        form=form,
        sha256=sha256,
        num_bytes=len(content),
        parameters=sum(np.size(leaf) for _, leaf in naming.leaves(variables["params"])),
        network=facts,
        step=number,
        figures=figures,
        how_learnt=how_learnt(restored.meta),
        data_license=data_license,
        settings=settings_of(restored.meta),
        before=trainings_before(restored.meta),
    )
    _write({out: content, out.with_name(f"{out.name}.md"): card.encode()})
    print(f"{out}: {facts.part} of step {number}, {len(content):,} bytes, sha256 {sha256}")
    return out


def choose_part(meta: Mapping[str, Any], part: str | None, workdir: Path) -> str:
    """Returns the part to export.

    Raises:
        UserError: the run has no such part.
    """
    whole = {"pretrain": "autoencoder", "import": "encoder"}.get(meta["verb"], "classifier")
    if meta.get("task") == "segmentation" and whole == "classifier":
        whole = "segmenter"
    if part not in (None, whole, "encoder"):
        there = whole if whole == "encoder" else f"{whole} or encoder"
        raise UserError(f"--part {part} is not in the run of {workdir}; choose {there}")
    return part or whole


def exported_part(meta: Mapping[str, Any], step: int, part: str) -> Exported:
    """Returns a part of the network of a checkpoint.

    Args:
        meta: of the checkpoint.
        step: of the checkpoint.
        part: one that it has.

    Raises:
        UserError: the configuration describes no network.
    """
    config = config_from_flat(meta["config"])
    config.model.dtype = "float32"
    model: Any
    if part == "classifier":
        model = setup.make_classifier(config, len(meta["class_names"]))
    elif part == "segmenter":
        model = setup.make_segmenter(config, len(meta["class_names"]))
    else:
        model = setup.make_autoencoder(config, meta["channels"])
    spec = model.spec
    strength = None
    if part == "autoencoder":
        strength = skip_strength(Restored({"step": step}, dict(meta)))
    bound = (part == "classifier" and spec.head == "fully_connected") or (
        part == "autoencoder" and config.model.bottleneck != "none"
    )
    facts = NetworkFacts(
        part=part,
        spec=spec.name,
        layers=tuple(tuple(layer) for layer in spec.layers),
        batch_norm=spec.batch_norm,
        channels=meta["channels"],
        image_size=tuple(config.data.crop),
        any_size=not bound,
        mean=tuple(meta["normalization"]["mean"]),
        std=tuple(meta["normalization"]["std"]),
        skip=model.skip if part in ("autoencoder", "segmenter") else None,
        skip_strength=1.0 if strength is None else float(strength),
        head=spec.head if part == "classifier" else None,
        hidden=spec.hidden if part == "classifier" else (),
        class_names=(tuple(meta["class_names"]) if part in ("classifier", "segmenter") else None),
    )
    return Exported(facts, config, model)


def _require_plain(exported: Exported, form: str) -> None:
    """Checks that torch's names and plain layers say all of a network.

    Raises:
        UserError: they do not.
    """
    facts, model = exported.facts, exported.config.model
    found = {} if facts.spec != "wide_resnet" else {"name": facts.spec}
    if facts.part == "autoencoder":
        plain = {"skip_placement": "before", "skip_gate": "none", "bottleneck": "none"}
        found |= {key: model[key] for key, value in plain.items() if model[key] != value}
    for key, value in found.items():
        also = "" if facts.spec == "wide_resnet" else ", and --part encoder is plain here too"
        raise UserError(
            f"--format {form} has network_1, _2, _3 and red_net with plain skips, and this run has "
            f"model.{key}={value!r}; --format stablehlo has every network{also}"
        )


def _writer(form: str) -> Callable[[dict[str, np.ndarray], NetworkFacts, dict[str, Any]], bytes]:
    if form == "safetensors":
        return tensor_file_bytes
    try:
        from symskip_jax.interop.onnx_graph import onnx_bytes
    except ImportError as error:
        raise UserError(f"--format onnx needs onnx: {how_to_install('onnx')}") from error
    return lambda tensors, facts, run: onnx_bytes(tensors, facts, to_json(facts, run))


def _write(files: Mapping[Path, bytes]) -> None:
    """Writes files whole, and nothing if one of them is there with other content.

    Raises:
        UserError: one is, or cannot be written.
    """
    make_workdir(next(iter(files)).parent, "--out")
    try:
        for path, content in files.items():
            if path.exists() and (path.is_dir() or path.read_bytes() != content):
                raise UserError(f"{path} is there already; give another --out or delete it")
        for path, content in files.items():
            write_atomically(path, content)
    except OSError as error:
        raise UserError(
            f"--out {error.filename} cannot be written ({error.strerror}); choose another"
        ) from error
