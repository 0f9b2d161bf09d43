"""`symskip visualize`: maps of a layer (figures 5, 6), and what several runs rebuild (figure 2)."""

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from symskip_jax.analysis.map_sheet import draw_likeness, draw_maps
from symskip_jax.analysis.maps import (
    measure_stability,
    rank_by_activity,
    selectivity,
    share_kept,
    top_channels,
)
from symskip_jax.analysis.sheets import Row, decibels, draw_sheet
from symskip_jax.errors import UserError
from symskip_jax.evaluation.reconstruction import corrupt_for_evaluation, reconstruct
from symskip_jax.experiments import setup
from symskip_jax.experiments.evaluate import skip_strength
from symskip_jax.experiments.inputs import load_split
from symskip_jax.experiments.networks import Run, open_run
from symskip_jax.metrics import psnr
from symskip_jax.models.deconvolutions import sizes_between
from symskip_jax.training.compilation import compiler_options
from symskip_jax.training.workdir import make_workdir, write_json
from symskip_jax.transforms import Corruption, center_crop

# Of the encoder, from 1: that which the paper looks at.
PAPERS_LAYER = 12
# On how many images likeness is measured, however few are drawn.
MEASURED_IMAGES = 64


def visualize_maps(
    workdir: Path,
    *,
    step: str = "latest",
    layer: str | None = None,
    against: str | None = None,
    images: int = 6,
    channels: int = 8,
    out: Path | None = None,
    config_path: str | None = None,
    overrides: Sequence[str] = (),
) -> dict[str, Any]:
    """Draws maps of a layer of test images, clean and corrupted, and measures their likeness.

    Writes `maps_LAYER.png` (the top channels over the images), `maps_LAYER.json` (the likeness, see
    `MapStability`, per channel and overall, and how many of the channels drawn are the top ones of
    corrupted images too) and `likeness_LAYER.png` and `.svg` (the same as a chart), and prints the
    overall figures.

    The top channels are the most active ones; or, with `against`, half of them those that are more
    active on the test images than on that split's, and half those that are less.

    Args:
        workdir: of the run.
        step: `latest`, `best` or a number.
        layer: as `encoder.11.relu`; None for the 12th ReLU, or the deepest of fewer.
        against: another split, whose images are drawn and measured too; None for none.
        images: how many of a split are drawn; likeness is measured on 64, or these if more.
        channels: how many are drawn.
        out: folder to write to; None for `images` in `workdir`.
        config_path: of a configuration whose data to take instead of the run's own; or None.
        overrides: `--config.key=value`.

    Returns:
        What the JSON file holds.

    Raises:
        UserError: there is no such checkpoint, layer or split, the data does not suit the network,
            or one channel is to tell two splits apart.
    """
    if against is not None and channels < 2:
        raise UserError(f"--channels {channels} must be 2 or more with --against, one of each kind")
    run = open_run(workdir, step, config_path, list(overrides))
    splits = [run.config.data.test_split, *([] if against is None else [against])]
    shown = [load_split(run.config, it) for it in splits]
    network = run.network(shown[0])
    shapes = network.layers(shown[0].channels)
    if layer is None:
        layer = list(shapes)[:PAPERS_LAYER][-1]
    if layer not in shapes:
        raise UserError(f"--layer {layer}: there is no such layer; there are {', '.join(shapes)}")

    @functools.partial(jax.jit, compiler_options=compiler_options())
    def maps_of(variables: Any, pixels: Array) -> Array:
        return network.activation(variables, layer, pixels)

    corruption = setup.make_corruption(run.config, network.normalization)
    count = max(images, MEASURED_IMAGES)
    pairs = [_shown(corruption, network.crop, it.first(count)) for it in shown]
    clean, corrupted = (np.concatenate(it) for it in zip(*pairs, strict=True))
    maps, corrupted_maps = (
        np.concatenate([maps_of(network.variables, image[None]) for image in pixels])
        for pixels in (clean, corrupted)
    )

    def by_split(values: np.ndarray) -> list[np.ndarray]:
        return np.split(values, np.cumsum([len(it) for it, _ in pairs])[:-1])

    order = rank_by_activity(maps)
    tops = top_channels(channels, *by_split(maps))
    corrupted_tops = top_channels(channels, *by_split(corrupted_maps))
    stability = measure_stability(maps, corrupted_maps)
    overall = {**stability.overall(), "top_kept": share_kept(tops, corrupted_tops)}
    selective_c = None
    if against is not None:
        selective_c = selectivity(*by_split(maps))
        overall["selectivity"] = float(selective_c[tops[0]].mean())
        overall["selectivity_against"] = -float(selective_c[tops[1]].mean())
    corrupted_c, between_c = stability.corrupted_c.tolist(), stability.between_c.tolist()
    activity = maps.mean((0, 1, 2))
    found = {
        **run.facts(),
        "layer": layer,
        "shape": list(shapes[layer]),
        "data": [it.name for it in shown],
        "images": len(clean),
        "corruption": describe_corruption(corruption).replace("\n", ", "),
        "overall": overall,
        "top": [top.tolist() for top in tops],
        "channels": [
            {
                "channel": c,
                "activity": float(activity[c]),
                "corrupted": _number(corrupted_c[c]),
                "between": _number(between_c[c]),
                **({} if selective_c is None else {"selectivity": float(selective_c[c])}),
            }
            for c in order.tolist()
        ],
    }
    out = workdir / "images" if out is None else out
    make_workdir(out)
    write_json(out / f"maps_{layer}.json", found)
    drawn = np.concatenate(tops)
    rows = np.concatenate([it[:images] for it in by_split(np.arange(len(clean)))])
    stride = 2 ** len(sizes_between(shapes[layer][:2], network.crop))
    draw_maps(
        out / f"maps_{layer}.png",
        (_bytes(clean[rows]), _bytes(corrupted[rows])),
        (maps[rows][..., drawn], corrupted_maps[rows][..., drawn]),
        stride,
        [_title(c, corrupted_c[c], selective_c) for c in drawn.tolist()],
    )
    draw_likeness(
        out / f"likeness_{layer}",
        stability.corrupted_c[order],
        stability.between_c[order],
        (overall["corrupted"], overall["between"]),
    )
    print(json.dumps({"layer": layer, **overall, "written": str(out / f"maps_{layer}.png")}))
    return found


def visualize_reconstructions(
    workdirs: Sequence[Path],
    *,
    step: str = "latest",
    images: int = 6,
    out: Path | None = None,
    config_path: str | None = None,
    overrides: Sequence[str] = (),
) -> None:
    """Draws test images, and below what each pre-training was shown of them and what it rebuilt.

    Writes `reconstructions.png`; PSNRs stand under the images (figure 2; supplement, figures 1-3).

    Args:
        workdirs: of pre-trainings on images of one dataset, each with a corruption of its own.
        step: `latest`, `best` or a number, of each.
        images: how many.
        out: folder to write to; None for `images` in the first of the workdirs.
        config_path: of a configuration whose data to take instead of the runs' own; or None.
        overrides: `--config.key=value`, of every run.

    Raises:
        UserError: there is no such checkpoint, a run is no pre-training, or they show other images.
    """
    runs = [open_run(workdir, step, config_path, list(overrides)) for workdir in workdirs]
    groups: list[list[Row]] = []
    seen = None
    for run in runs:
        rows, clean = _reconstruction_rows(run, images)
        if seen is not None and not np.array_equal(seen, clean):
            raise UserError(
                f"--workdir {run.workdir} shows other test images than {runs[0].workdir}; set "
                "--config.data.name, --config.data.test_split and --config.data.crop for both"
            )
        groups = groups or [[Row("clean", clean)]]
        seen = clean
        groups.append(rows)
    out = workdirs[0] / "images" if out is None else out
    make_workdir(out)
    draw_sheet(groups, out / "reconstructions.png")
    print(out / "reconstructions.png")


def describe_corruption(corruption: Corruption) -> str:
    """Returns a corruption in two short lines."""
    if corruption.kind == "gaussian":
        levels = f"{corruption.sigma:g}"
        if corruption.sigma_max > 0:
            levels += f" to {corruption.sigma_max:g}"
        return f"Gaussian noise\nσ = {levels}"
    if corruption.kind == "blocks":
        count, (height, width) = corruption.num_blocks, corruption.block_size
        return f"{count} block{'s' if count != 1 else ''} of\n{height}x{width} pixels"
    return corruption.kind


def _reconstruction_rows(run: Run, images: int) -> tuple[list[Row], np.ndarray]:
    if run.restored.meta["verb"] != "pretrain":
        raise UserError(
            f"--workdir {run.workdir} holds a run of `symskip {run.restored.meta['verb']}`, which "
            "rebuilds nothing; give one of `symskip pretrain`"
        )
    test = load_split(run.config, run.config.data.test_split)
    network = run.network(test)
    corruption = setup.make_corruption(run.config, network.normalization)
    clean, corrupted = _shown(corruption, network.crop, test.first(images))
    model = setup.make_autoencoder(run.config, test.channels)
    strength = skip_strength(run.restored)

    @functools.partial(jax.jit, compiler_options=compiler_options())
    def rebuild(variables: Any, pixels: Array) -> Array:
        return reconstruct(model, variables, network.normalization, pixels, strength)

    rebuilt = rebuild(network.variables, corrupted)
    pairs = ((describe_corruption(corruption), jnp.clip(corrupted, 0, 255)), ("rebuilt", rebuilt))
    rows = [
        Row(label, _bytes(pixels), decibels(psnr(pixels, clean).tolist()))
        for label, pixels in pairs
    ]
    return rows, _bytes(clean)


def _shown(
    corruption: Corruption, crop: tuple[int, int], images_nhwc: np.ndarray
) -> tuple[Array, Array]:
    """Returns central crops, clean and corrupted as in every evaluation, float32, 0 to 255."""
    clean = center_crop(jnp.asarray(images_nhwc), crop).astype(jnp.float32)
    return clean, corrupt_for_evaluation(corruption, jnp.arange(len(clean)), clean)


def _bytes(pixels: Array | np.ndarray) -> np.ndarray:
    return np.asarray(jnp.round(jnp.clip(pixels, 0, 255))).astype(np.uint8)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _title(channel: int, likeness: float, selective_c: np.ndarray | None) -> str:
    lines = [f"channel {channel}", "dark" if np.isnan(likeness) else f"{likeness:.2f} alike"]
    if selective_c is not None:
        lines.append(f"{selective_c[channel]:+.1f} sd")
    return "\n".join(lines)
