"""`symskip features`: what a frozen network makes of every image of a dataset, in one file."""

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import rich.progress
from jax import Array
from rich.console import Console
from rich.markup import escape

from symskip_jax.analysis.feature_files import Piece, check_suffix, read_facts, write_features
from symskip_jax.analysis.feature_parts import FeatureParts, differences
from symskip_jax.analysis.features import GLOBAL_AVERAGE, feature_function
from symskip_jax.data.parts import Part
from symskip_jax.errors import StoppedError, UserError, did_you_mean
from symskip_jax.experiments.inputs import Input, load_split
from symskip_jax.experiments.networks import Run, open_run
from symskip_jax.training.stops import StopRequests
from symskip_jax.training.workdir import make_workdir


def features(
    workdir: Path,
    out: Path,
    *,
    data: str | None = None,
    split: str | None = None,
    layer: str | None = None,
    grid: int = GLOBAL_AVERAGE,
    step: str = "latest",
    config_path: str | None = None,
    overrides: Sequence[str] = (),
) -> None:
    """Writes the features of all images of a split, in its order.

    Images are shown as the run's evaluation shows them. What is done so far stands in
    `OUT.parts`, from where the same command goes on; the file is the same either way.

    Args:
        workdir: of the run, a pre-training or a fine-tuning.
        out: the file, ending in .npz or .parquet; see `write_features`.
        data: name of the dataset; None for the run's own.
        split: of it; None for the one that the run measures on.
        layer: any name of `symskip_jax.models.activations`; None for the deepest ReLU of the
            encoder.
        grid: 1 for the mean over all positions, g for means over g x g cells, 0 for the whole
            activation.
        step: `latest`, `best` or a number.
        config_path: of a configuration whose data to take instead of the run's own; or None.
        overrides: `--config.key=value`.

    Raises:
        UserError: there is no such checkpoint or layer, the data does not suit the network, or
            `out` cannot be written, or holds something else.
        StoppedError: the command was asked to stop.
    """
    check_suffix(out)
    if grid < 0:
        raise UserError(f"--grid {grid} must be 0 or more")
    ours = [] if data is None else [f"--config.data.name={data}"]
    ours += [] if split is None else [f"--config.data.test_split={split}"]
    run = open_run(workdir, step, config_path, [*overrides, *ours])
    option = "--config.data.name" if data is None else "--data"
    shown = load_split(run.config, run.config.data.test_split, option=option)
    network = run.network(shown)
    shapes = network.shapes(shown.channels)
    if layer is None:
        layer = list(network.layers(shown.channels))[-1]
    if layer not in shapes:
        raise UserError(
            f"--layer {layer}: there is no such layer; there are {', '.join(shapes)}"
            + did_you_mean(layer, shapes)
        )
    facts = _facts(run, shown, layer, grid, network.normalization._asdict())
    parts = FeatureParts(out, facts)
    if out.exists():
        _check_finished(out, facts)
        parts.remove()
        print(f"finished already: {out}")
        return
    make_workdir(out.parent, "--out")
    compute = functools.partial(feature_function(network, layer, grid), network.variables)
    try:
        with parts:
            _compute_parts(shown, run.config.run.eval_batch_size, compute, parts)
            if next(iter(parts), None) is None:
                raise UserError(f"{shown.name} has no image that can be decoded")
            write_features(out, parts, facts)
            count = sum(len(piece["index"]) for piece in parts)
    except OSError as error:
        raise UserError(
            f"--out {out} cannot be written ({error.strerror}): what is done is kept in "
            f"{parts.folder}, and the same command goes on from there"
        ) from error
    parts.remove()
    told = "" if count == len(shown) else f" of {len(shown):,}; the others cannot be decoded"
    print(f"{layer} of {shown.name}: {count:,} images{told}", file=sys.stderr)
    print(out)


def _facts(
    run: Run, shown: Input, layer: str, grid: int, normalization: Mapping[str, Any]
) -> dict[str, Any]:
    kind = shown.source.features.label_kind
    return {
        **run.facts(),
        "layer": layer,
        "grid": grid,
        "data": shown.name,
        "images": shown.fingerprint(),
        "class_names": list(shown.source.class_names or ()) if kind != "mask" else [],
        "normalization": {name: list(values) for name, values in normalization.items()},
        **{
            f"config.data.{key}": _as_json(run.config.data[key])
            for key in ("crop", "view", "channels", "resize", "bad_image")
        },
        "batch_size": run.config.run.eval_batch_size,
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
    }


def _as_json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _check_finished(out: Path, facts: Mapping[str, Any]) -> None:
    theirs = read_facts(out)
    if theirs is None:
        raise UserError(f"--out {out} exists already, and not by `symskip features`: give another")
    if differing := differences(theirs, facts):
        raise UserError(f"--out {out} holds other features: {differing}; give another or delete it")


def _compute_parts(
    data: Input, batch_size: int, compute: Callable[[Any], Array], parts: FeatureParts
) -> None:
    """Computes the batches that are not there yet.

    Raises:
        StoppedError: a signal asked for it.
        OSError: a part cannot be written.
        UserError: an image cannot be read.
    """
    number = parts.count()
    start = min(number * batch_size, len(data))
    if start:
        print(f"goes on after {start:,} of {len(data):,} images", file=sys.stderr)
    if start == len(data):
        return
    remaining = data.take(np.arange(start, len(data)))
    bar = rich.progress.Progress(
        *rich.progress.Progress.get_default_columns(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),  # a log would get an empty line
        redirect_stdout=False,
    )
    with StopRequests() as stops, bar:
        task = bar.add_task(escape(data.name), total=len(data), completed=start)
        for part in remaining.parts(batch_size):
            parts.write(number, _piece(data, part, start, compute))
            number += 1
            bar.update(task, completed=min(number * batch_size, len(data)))
            if number * batch_size < len(data) and (stopping := stops.agreed()):
                raise StoppedError(
                    f"stopped by {stopping} after {number * batch_size:,} of {len(data):,} "
                    "images, and saved; the same command goes on from there"
                )


def _piece(data: Input, part: Part, start: int, compute: Callable[[Any], Array]) -> Piece:
    mask_b = np.asarray(part.mask_b)
    indices_n = np.asarray(part.indices_b, np.int64)[mask_b] + start
    found = {"features": np.asarray(compute(part.batch["image"]))[mask_b]}
    if data.source.features.label_kind in ("class", "classes"):
        found["label"] = np.asarray(part.batch["label"])[mask_b]
    names = data.source.names(indices_n.tolist())
    return {**found, "index": indices_n, "name": np.array(names, np.str_)}
