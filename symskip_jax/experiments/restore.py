"""`symskip restore`: apply a pre-trained auto-encoder to anyone's images, of any size."""

import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from symskip_jax.analysis.files import write_atomically
from symskip_jax.config import config_from_flat
from symskip_jax.data.pictures import (
    Picture,
    encode_png,
    find_pictures,
    read_picture,
    result_paths,
)
from symskip_jax.errors import UserError
from symskip_jax.evaluation.restoration import (
    add_noise,
    as_picture,
    exact_overlap,
    measure,
    restorer,
)
from symskip_jax.experiments import setup
from symskip_jax.experiments.evaluate import choose_step, skip_strength
from symskip_jax.models import AutoEncoder
from symskip_jax.training.checkpoints import Restored, load_variables
from symskip_jax.training.workdir import make_workdir, write_json
from symskip_jax.transforms import Normalization

FIGURES = ("psnr_noisy", "psnr", "ssim_noisy", "ssim")


def restore(
    paths: Sequence[Path],
    workdir: Path,
    step: str,
    out: Path | None,
    sigma: float | None,
    tile: int,
    overlap: str,
) -> None:
    """Restores images, writes them as PNG files, and prints a table that says where.

    `restore.json` beside them has the table, and what it was made with; their folder comes last.

    Args:
        paths: of image files, or of folders whose images are taken at any depth.
        workdir: of the pre-training.
        step: `latest`, `best` or a number.
        out: folder of the results; None for `restored` in the folder of the run.
        sigma: of noise to add first, on the 0-255 scale, always the same to images of one shape;
            results are then measured against the images as they were. None to restore them as they
            are.
        tile: largest height and width, in pixels, that the network is given at once.
        overlap: of tiles, in pixels, or `auto`: as much as it takes that no cut can be seen.

    Raises:
        UserError: there is no such checkpoint, it is no auto-encoder's, a result would go over
            another file; or, after all others are restored, images could not be read.
    """
    if sigma is not None and not 0 <= sigma < math.inf:
        raise UserError(f"--sigma {sigma} must be a number, 0 or more")
    restored = load_variables(workdir, choose_step(workdir, step))
    model = _autoencoder(restored, workdir)
    shared = _overlap(overlap, tile, model)
    out = workdir / "restored" if out is None else out
    pictures = find_pictures(paths, out)
    results = result_paths(pictures, out)
    make_workdir(out, "--out")
    apply = restorer(
        model,
        setup.variables_of(restored),
        Normalization.from_facts(restored.meta["normalization"]),
        tile=tile,
        overlap=shared,
        skip_strength=skip_strength(restored),
    )
    columns = () if sigma is None else FIGURES
    table = _Table(max(len(picture.name) for picture in pictures), columns)
    table.write("image", "size", dict(zip(columns, columns, strict=True)), "seconds", "result")
    records = []
    unread = 0
    for picture, result in zip(pictures, results, strict=True):
        started = time.perf_counter()
        try:
            clean = _read(picture, model.channels)
        except UserError as error:
            print(f"left out: {error}", file=sys.stderr)
            unread += 1
            continue
        seen = clean if sigma is None else add_noise(clean, sigma)
        rebuilt = apply(seen)
        seconds = time.perf_counter() - started
        write_atomically(result, encode_png(rebuilt))
        figures: dict[str, float] = {}
        if sigma is not None:
            noisy = measure(as_picture(seen), clean)
            figures = {f"{name}_noisy": it for name, it in noisy.items()} | measure(rebuilt, clean)
        size = "x".join(map(str, clean.shape))
        table.write(picture.name, size, figures, f"{seconds:.2f}", str(result))
        written = result.relative_to(out).as_posix()
        records.append({"image": picture.name, "size": size, "result": written, **figures})
    if not records:
        raise UserError("no image could be read, as told above")
    mean = {it: float(np.mean([record[it] for record in records])) for it in columns}
    if mean:
        table.write(f"mean of {len(records)}", "", mean)
    corruption = config_from_flat(restored.meta["config"]).corruption
    facts = {
        "workdir": str(workdir),
        "step": int(restored.state["step"]),
        "network": restored.meta["spec"]["name"],
        "trained_on": {it: corruption[it] for it in ("kind", "sigma", "sigma_max")},
        "sigma": sigma,
        "tile": tile,
        "overlap": shared,
        "seamless": shared >= exact_overlap(model),
        **mean,
        "images": records,
    }
    write_json(out / "restore.json", facts)
    print(out)
    if unread:
        raise UserError(f"{unread} of {len(pictures)} images could not be read, as told above")


class _Table(NamedTuple):
    """Lines of a table, printed as they come."""

    name_width: int
    columns: Sequence[str]

    def write(
        self,
        name: str,
        size: str,
        figures: Mapping[str, Any],
        seconds: str = "",
        result: str = "",
    ) -> None:
        cells = [
            figures[it] if isinstance(figures[it], str) else f"{figures[it]:.4f}"
            for it in self.columns
        ]
        middle = "".join(f"{cell:>12}" for cell in cells)
        line = f"{name:{max(self.name_width, 12)}}  {size:>12}{middle}  {seconds:>8}  {result}"
        print(line.rstrip(), flush=True)


def _autoencoder(restored: Restored, workdir: Path) -> AutoEncoder:
    if restored.meta["verb"] != "pretrain":
        raise UserError(
            f"--checkpoint {workdir} holds no auto-encoder, so nothing restores; give that of a "
            "pre-training"
        )
    config = config_from_flat(restored.meta["config"])
    if config.model.bottleneck != "none":
        raise UserError(
            f"--checkpoint {workdir} holds a network with config key "
            f"model.bottleneck={config.model.bottleneck!r}, which sees images of one size alone; "
            "give that of another pre-training"
        )
    return setup.make_autoencoder(config, restored.meta["channels"])


def _overlap(overlap: str, tile: int, model: AutoEncoder) -> int:
    """Returns by how many pixels tiles overlap."""
    if overlap != "auto" and not overlap.isdecimal():
        raise UserError(f"--overlap {overlap} must be auto, or a number of pixels")
    shared = exact_overlap(model) if overlap == "auto" else int(overlap)
    least = shared + shared % 2 + model.spec.stride
    if tile < least:
        raise UserError(
            f"--tile {tile} is too small for tiles that overlap by {shared} pixels; "
            f"choose {least} or more"
        )
    return shared


def _read(picture: Picture, channels: int) -> np.ndarray:
    """Decodes a picture; for a network of one channel, one without colours has one channel too."""
    image = read_picture(picture, 3)
    is_grey = channels == 1 and (image == image[..., :1]).all()
    return image[..., :1] if is_grey else image
