"""Test images as they are looked at: clean, corrupted, occluded, rebuilt, named."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from symskip_jax.analysis.frozen import FrozenNetwork
from symskip_jax.analysis.sheets import Row, decibels
from symskip_jax.errors import UserError
from symskip_jax.evaluation.reconstruction import corrupt_for_evaluation, reconstruct
from symskip_jax.experiments import setup
from symskip_jax.experiments.evaluate import skip_strength
from symskip_jax.experiments.inputs import Input
from symskip_jax.experiments.networks import Run
from symskip_jax.metrics import psnr
from symskip_jax.training.compilation import compiler_options
from symskip_jax.transforms import Corruption, center_crop

CLEAN, CORRUPTED, OCCLUDED = "clean", "corrupted", "occluded"


def corruptions(run: Run, network: FrozenNetwork, *, occluded: bool) -> dict[str, Corruption]:
    """Returns what is done to images, by name: the run's own corruption; or an occlusion too.

    An occlusion hides the central square of half the height and width, as Context Encoder's does.
    """
    found = {CORRUPTED: setup.make_corruption(run.config, network.normalization)}
    if occluded:
        found[OCCLUDED] = Corruption("center", fill=network.normalization.mean)
    return found


def shown(
    corruptions: dict[str, Corruption], crop: tuple[int, int], images_nhwc: np.ndarray
) -> dict[str, Array]:
    """Returns central crops by name, float32 [N, *crop, C], 0 to 255.

    They are `clean`, and corrupted as in every evaluation.
    """
    clean = center_crop(jnp.asarray(images_nhwc), crop).astype(jnp.float32)
    places = jnp.arange(len(clean))
    return {CLEAN: clean} | {
        name: corrupt_for_evaluation(it, places, clean) for name, it in corruptions.items()
    }


def rebuilt_rows(
    run: Run,
    network: FrozenNetwork,
    data: Input,
    versions: Mapping[str, Array | np.ndarray],
    labels: dict[str, str],
) -> list[list[Row]]:
    """Returns, for a sheet, what an auto-encoder was shown and what it rebuilt, with PSNRs.

    Args:
        run: of `symskip pretrain`.
        network: its network.
        data: that the images are of.
        versions: as `shown` gives them.
        labels: what stands beside the rows, by the names of the versions to rebuild.

    Raises:
        UserError: the run is of another verb.
    """
    if run.restored.meta["verb"] != "pretrain":
        raise UserError(
            f"--workdir {run.workdir} holds a run of `symskip {run.restored.meta['verb']}`, which "
            "rebuilds nothing; give one of `symskip pretrain`"
        )
    pixels_of = {name: jnp.asarray(it) for name, it in versions.items()}
    model = setup.make_autoencoder(run.config, data.channels)
    strength = skip_strength(run.restored)

    @functools.partial(jax.jit, compiler_options=compiler_options())
    def rebuild(variables: Any, pixels: Array) -> Array:
        return reconstruct(model, variables, network.normalization, pixels, strength)

    groups = []
    for name, label in labels.items():
        seen = jnp.clip(pixels_of[name], 0, 255)
        pairs = ((label, seen), ("rebuilt", rebuild(network.variables, pixels_of[name])))
        groups.append(
            [
                Row(it, as_bytes(pixels), decibels(psnr(pixels, pixels_of[CLEAN]).tolist()))
                for it, pixels in pairs
            ]
        )
    return groups


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


def as_bytes(pixels: Array | np.ndarray) -> np.ndarray:
    """Returns pixels as uint8, rounded and cut to what there is."""
    return np.asarray(jnp.round(jnp.clip(pixels, 0, 255))).astype(np.uint8)
