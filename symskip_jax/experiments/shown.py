"""Test images as they are looked at: clean, corrupted, occluded, rebuilt, named."""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jax import Array

from symskip_jax.analysis.frozen import FrozenNetwork
from symskip_jax.analysis.sheets import Row, decibels
from symskip_jax.errors import UserError
from symskip_jax.evaluation.reconstruction import corrupt_for_evaluation, rebuilder
from symskip_jax.experiments import setup
from symskip_jax.experiments.evaluate import skip_strength
from symskip_jax.experiments.networks import Run
from symskip_jax.transforms import Corruption, center_crop

CLEAN, CORRUPTED, OCCLUDED = "clean", "corrupted", "occluded"
# That fit under an image of a sheet.
_NAME_LETTERS = 12


def short_name(name: str) -> str:
    """Returns a class's name as it stands under an image: on one line, cut where it is too long."""
    name = " ".join(name.split())
    return name if len(name) <= _NAME_LETTERS else f"{name[: _NAME_LETTERS - 1]}…"


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
    images_nhwc: Array | np.ndarray,
    corruptions: Mapping[str, Corruption],
) -> list[list[Row]]:
    """Returns, for a sheet, what an auto-encoder was shown and what it rebuilt, with PSNRs in dB.

    Args:
        run: of `symskip pretrain`.
        network: its network.
        images_nhwc: the first of a dataset, 0 to 255, as they are stored or cropped already.
        corruptions: what is done to them, by what stands beside the rows.

    Raises:
        UserError: the run is of another verb.
    """
    if run.restored.meta["verb"] != "pretrain":
        raise UserError(
            f"--workdir {run.workdir} holds a run of `symskip {run.restored.meta['verb']}`, which "
            "rebuilds nothing; give one of `symskip pretrain`"
        )
    model = setup.make_autoencoder(run.config, images_nhwc.shape[-1])
    strength = skip_strength(run.restored)
    groups = []
    for label, corruption in corruptions.items():
        rebuild = rebuilder(model, network.normalization, corruption, network.crop)
        found = rebuild(network.variables, strength, images_nhwc)
        groups.append(
            [
                Row(label, np.asarray(found.corrupted), decibels(found.psnr_corrupted.tolist())),
                Row(
                    "rebuilt",
                    np.asarray(found.reconstructed),
                    decibels(found.psnr_reconstructed.tolist()),
                ),
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
