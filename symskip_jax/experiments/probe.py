"""`symskip probe`: how well each layer classifies and rebuilds images (section 5.1, figure 3)."""

import functools
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from symskip_jax.analysis.deconvolution_probe import Recipe
from symskip_jax.analysis.features import Extracted, extract_features
from symskip_jax.analysis.label_probes import measure_few_shot, measure_neighbors
from symskip_jax.analysis.probing import Examples, classify, rebuild
from symskip_jax.config import flat, load_config
from symskip_jax.data.parts import parts_of
from symskip_jax.errors import UserError, did_you_mean
from symskip_jax.evaluation.batches import Parts
from symskip_jax.experiments.checks import check_config
from symskip_jax.experiments.finetune import draw
from symskip_jax.experiments.inputs import Input, load_train_and_test, memory_bytes
from symskip_jax.experiments.networks import open_run, untrained_network
from symskip_jax.experiments.probe_table import header, row
from symskip_jax.experiments.tasks import require_labels, with_labels
from symskip_jax.models.deconvolutions import sizes_between, stack_shape
from symskip_jax.training.workdir import make_workdir, write_json

# The paper's two; and what its layers are asked besides, of features averaged over positions.
KINDS = ("classification", "reconstruction")
POOLED_KINDS = {"few_shot": measure_few_shot, "knn": measure_neighbors}
ALL_KINDS = (*KINDS, *POOLED_KINDS)
MIN_DECONVOLUTIONS = 3

# Of the memory, for the features of all images; they are there twice for a moment.
FEATURES_SHARE = 0.3


def probe(
    workdir: Path,
    *,
    step: str = "latest",
    kinds: Sequence[str] = KINDS,
    layers: Sequence[str] | None = None,
    out: Path | None = None,
    beside: Sequence[Path] = (),
    init_only: bool = False,
    config_path: str | None = None,
    overrides: Sequence[str] = (),
) -> dict[str, Any]:
    """Probes the encoder's layers of a run, prints a table and draws the curves.

    What is measured is written after each layer; a layer that is there is not measured again.
    Nothing of the network changes: its activations of clean, central crops are what a probe sees.

    Args:
        workdir: of the run.
        step: `latest`, `best` or a number.
        kinds: of `ALL_KINDS`.
        layers: names, as `encoder.0.relu`; None for all.
        out: JSON file to write, and a PNG and an SVG beside it; None for `probe.json` in `workdir`.
        beside: folders that were probed too (or their JSON files), to be drawn in the same chart.
        init_only: the network is that of `config_path`, untrained; `workdir` is only written to.
        config_path: of a configuration whose data to take instead of the run's own; or None.
        overrides: `--config.key=value`.

    Returns:
        What the file holds: `protocol`, and `layers` by name.

    Raises:
        UserError: there is no such checkpoint or layer, the data does not suit the network, or the
            file holds probes of something else.
    """
    out = workdir / "probe.json" if out is None else out
    others = {
        path.stem if path.suffix == ".json" else path.resolve().name: _read(path) for path in beside
    }
    run = None
    if init_only:
        config = _untrained_config(config_path, overrides)
    else:
        run = open_run(workdir, step, config_path, list(overrides))
        config = run.config
    found = load_train_and_test(config, config.data.train_split)
    everything, test = map(with_labels, found)
    num_classes = len(_require_one_class(everything))
    _require_one_class(test)
    train, drawn = draw(_with_labels(config, everything), everything)
    if run is None:
        network, facts = untrained_network(config, everything, num_classes)
    else:
        network, facts = run.network(everything), run.facts()
    shapes = network.layers(train.channels)
    chosen = _choose(shapes, layers)
    if "classification" in kinds:
        _check_memory(config, {name: shapes[name] for name in chosen}, len(train))
    protocol = {
        **facts,
        "data": everything.name,
        "images": train.fingerprint(),
        "labels": drawn,
        "num_labels": len(train),
        "test": test.name,
        **{f"config.{key}": value for key, value in _settings(config).items()},
    }
    make_workdir(out.parent)
    found = _resume(out, protocol, shapes)
    examples = _examples(train, num_classes, config.run.eval_batch_size)

    def parts() -> Iterable[Any]:
        return test.parts(config.run.eval_batch_size)

    @functools.lru_cache(maxsize=1)  # of one layer, for all kinds
    def pooled_features(name: str) -> tuple[Extracted, Extracted]:
        arrays = {"image": examples.images_nhwc, "label": examples.labels_n}
        size = min(config.run.eval_batch_size, len(examples.images_nhwc))
        learnt = extract_features(network, name, lambda: parts_of(arrays, size))
        return learnt, extract_features(network, name, parts)

    print(f"{len(train):,} images to learn from, {len(test):,} to measure on", file=sys.stderr)
    print(header(kinds), flush=True)
    for name in chosen:
        for kind in kinds:
            if kind not in found["layers"][name]:
                if kind in POOLED_KINDS:
                    measured = POOLED_KINDS[kind](*pooled_features(name))
                else:
                    measured = _measure(kind, config, network, name, shapes, examples, parts)
                found["layers"][name][kind] = measured
                write_json(out, found)
        print(row(name, found["layers"][name], kinds), flush=True)
    write_json(out, found)
    # It imports matplotlib, which need not hold up the first layer.
    from symskip_jax.analysis.probe_chart import draw_probes

    draw_probes(out.with_suffix(""), {_label(workdir, out): found, **others})
    return found


def _untrained_config(config_path: str | None, overrides: Sequence[str]) -> ConfigDict:
    if config_path is None:
        raise UserError("--init-only needs --config: it says which network")
    config = load_config(config_path, overrides)
    check_config(config)
    return config


def _require_one_class(data: Input) -> tuple[str, ...]:
    """Returns the classes; which images probes learn from is drawn by class."""
    class_names = require_labels(data)
    if (kind := data.source.features.label_kind) != "class":
        has = "a class for each pixel" if kind == "mask" else "several classes an image"
        raise UserError(
            f"{data.name} has {has}, and probes take one class an image; set --config.data.name "
            "to data that has"
        )
    return class_names


def _with_labels(config: ConfigDict, data: Input) -> ConfigDict:
    """Returns a copy whose draw for fine-tuning is the probes' own."""
    drawable = int(data.can_be_drawn().sum())
    copied = config.copy_and_resolve_references()
    wanted = config.probe.num_labels
    copied.data.num_labels = wanted if wanted < drawable else 0
    return copied


def _settings(config: ConfigDict) -> dict[str, Any]:
    fields = flat(config)
    names = ("seed", "data.crop", "data.labels_seed")
    return {k: v for k, v in fields.items() if k.startswith("probe.") or k in names}


def _choose(shapes: dict[str, Any], layers: Sequence[str] | None) -> list[str]:
    unknown = [name for name in layers or () if name not in shapes]
    if unknown:
        raise UserError(
            f"--layers {unknown[0]}: there is no such layer; there are {', '.join(shapes)}"
            + did_you_mean(unknown[0], shapes)
        )
    return [name for name in shapes if layers is None or name in layers]


def _check_memory(config: ConfigDict, shapes: dict[str, tuple[int, ...]], count: int) -> None:
    grid, limit = config.probe.grid, FEATURES_SHARE * memory_bytes()
    for name, (height, width, channels) in shapes.items():
        cells = min(grid or height, height) * min(grid or width, width)
        if (needed := 4 * count * cells * channels) > limit:
            raise UserError(
                f"config key probe.grid={grid}: the {cells * channels:,} features of {name} of "
                f"{count:,} images take {needed / 2**30:.1f} GiB, and {limit / 2**30:.1f} may be "
                "used; set a grid (8) or a smaller probe.num_labels"
            )


def _examples(train: Input, num_classes: int, batch_size: int) -> Examples:
    images, labels = [], []
    for part in train.parts(batch_size):
        images.append(np.asarray(part.batch["image"])[part.mask_b])
        labels.append(np.asarray(part.batch["label"])[part.mask_b])
    return Examples(np.concatenate(images), np.concatenate(labels), num_classes)


def _resume(
    out: Path, protocol: dict[str, Any], shapes: dict[str, tuple[int, ...]]
) -> dict[str, Any]:
    if not out.exists():
        layers = {name: {"shape": list(shape)} for name, shape in shapes.items()}
        return {"protocol": protocol, "layers": layers}
    found = _read(out)
    theirs = found["protocol"]
    differing = [
        f"{key} ({theirs.get(key)!r} there, {protocol.get(key)!r} here)"
        for key in sorted({*theirs, *protocol})
        if theirs.get(key) != protocol.get(key)
    ]
    if differing:
        raise UserError(
            f"{out} holds other probes: {', '.join(differing)}; give another --out or delete it"
        )
    return found


def _read(path: Path) -> dict[str, Any]:
    file = path if path.suffix == ".json" else path / "probe.json"
    try:
        found = json.loads(file.read_text())
        if not {"protocol", "layers"} <= set(found):
            raise ValueError("it is no file of `symskip probe`")
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read ({error}); run `symskip probe` there") from error
    return found


def _measure(
    kind: str,
    config: ConfigDict,
    network: Any,
    name: str,
    shapes: dict[str, tuple[int, int, int]],
    train: Examples,
    test: Parts,
) -> dict[str, Any]:
    settings = config.probe
    batch_size = min(config.run.eval_batch_size, len(train.images_nhwc))
    if kind == "classification":
        return classify(
            network,
            name,
            train,
            test,
            grid=settings.grid,
            l2s=settings.l2,
            batch_size=batch_size,
            seed=config.seed,
        )
    image = (*network.crop, train.images_nhwc.shape[-1])
    depths = [len(sizes_between(shape[:2], image[:2])) for shape in shapes.values()]
    shape = stack_shape(
        shapes[name],
        image,
        layers=max(MIN_DECONVOLUTIONS, *depths),
        parameters=settings.parameters,
    )
    recipe = Recipe(settings.epochs, settings.batch_size, settings.learning_rate, config.seed)
    return rebuild(network, name, shape, train, test, recipe, batch_size)


def _label(workdir: Path, out: Path) -> str:
    return workdir.resolve().name if out.stem == "probe" else out.stem
