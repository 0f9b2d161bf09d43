"""`symskip visualize`: maps of a layer (figures 5, 6), and what several runs rebuild (figure 2)."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from symskip_jax.analysis.sheets import Row, draw_sheet
from symskip_jax.errors import UserError, did_you_mean
from symskip_jax.experiments.inputs import load_split
from symskip_jax.experiments.layer_maps import MEASURED_IMAGES, draw_layer, look
from symskip_jax.experiments.networks import Run, open_run
from symskip_jax.experiments.shown import (
    CORRUPTED,
    as_bytes,
    corruptions,
    describe_corruption,
    rebuilt_rows,
)
from symskip_jax.training.workdir import make_workdir

# Of the encoder, from 1: that which the paper looks at.
PAPERS_LAYER = 12


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
    overall figures and where the maps are.

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
    data = [load_split(run.config, it) for it in splits]
    looks = look(run, data, max(images, MEASURED_IMAGES), occluded=False)
    if layer is None:
        layer = list(looks.shapes)[:PAPERS_LAYER][-1]
    check_layer(layer, looks.shapes)
    out = workdir / "images" if out is None else out
    make_workdir(out)
    found = draw_layer(looks, layer, images=images, channels=channels, out=out)
    print(out / f"maps_{layer}.png")
    return found


def check_layer(layer: str, shapes: Iterable[str]) -> None:
    """Sees that a network has a layer.

    Raises:
        UserError: it has not.
    """
    if layer not in shapes:
        raise UserError(
            f"--layer {layer}: there is no such layer; there are {', '.join(shapes)}"
            + did_you_mean(layer, shapes)
        )


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


def _reconstruction_rows(run: Run, images: int) -> tuple[list[Row], np.ndarray]:
    test = load_split(run.config, run.config.data.test_split)
    network = run.network(test)
    done = corruptions(run, network, occluded=False)[CORRUPTED]
    pixels_nhwc = test.first(images)
    (rows,) = rebuilt_rows(run, network, pixels_nhwc, {describe_corruption(done): done})
    return rows, as_bytes(network.cropped(jnp.asarray(pixels_nhwc)))
