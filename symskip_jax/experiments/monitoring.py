"""What the encoder knows of the class while it learns without labels, and what its skips do."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh
from ml_collections import ConfigDict

from symskip_jax.analysis.features import Extracted, flat_features
from symskip_jax.analysis.frozen import FrozenNetwork
from symskip_jax.data.base import UNLABELLED
from symskip_jax.errors import UserError
from symskip_jax.evaluation.batches import Parts, map_images
from symskip_jax.evaluation.reconstruction import corrupt_for_evaluation, reconstruct
from symskip_jax.experiments.inputs import Input, load_split
from symskip_jax.metrics import psnr
from symskip_jax.models import AutoEncoder
from symskip_jax.training.compilation import compiler_options
from symskip_jax.training.processes import together
from symskip_jax.training.steps import Batch
from symskip_jax.training.stops import StopRequests
from symskip_jax.transforms import Corruption, Normalization, center_crop

# Of images to learn from, a class: as many as neighbours vote.
_LEAST_OF_CLASS = 20

# Variables of an auto-encoder -> figures by name; for all processes.
Monitor = Callable[[Any], dict[str, float]]


def make_monitor(
    config: ConfigDict,
    model: AutoEncoder,
    normalization: Normalization,
    corruption: Corruption,
    train: Input,
    test: Input,
    mesh: Mesh,
    stops: StopRequests,
) -> Monitor:
    """Returns what measures an auto-encoder beside its evaluation, on a few fixed images.

    Args:
        config: all of it; `run.monitor_images` of the images to measure on are looked at, and as
            many of those to learn from, or 20 a class where that is more, drawn once and for all;
            0 for no figures at all.
        model: the auto-encoder.
        normalization: of the pixels, as in training.
        corruption: of its input.
        train: what is pre-trained on; its labels are asked for here alone.
        test: what is measured on.
        mesh: over whose devices batches are split.
        stops: may end a measurement.

    Returns:
        A function of the variables that returns

        - `knn_accuracy` and `linear_accuracy` (0 to 1) of the encoder's deepest ReLU, averaged over
          positions, the same with `_middle` of the one half-way there, and `monitor_count`, the
          images that they are measured on: where the dataset has one class an image;
        - `psnr_without_skips` (dB): of reconstructions with the inner skips left out, by a decoder
          that learnt with them: where there are any.
    """
    count, crop = config.run.monitor_images, tuple(config.data.crop)
    if not count:
        return lambda variables: {}
    labelled = _find_labelled(config, train, test)
    learnt = None
    if labelled is not None:
        least = _LEAST_OF_CLASS * len(labelled.source.features.class_names or ())
        learnt = _some(labelled, max(count, least)).spread(mesh, stops)
    asked = _some(test, count).spread(mesh, stops)

    def parts(data: Input) -> Parts:
        return functools.partial(data.parts, config.run.eval_batch_size)

    @functools.partial(jax.jit, compiler_options=compiler_options())
    def features(variables: Any, images_bhwc: Array) -> dict[str, Array]:
        network = FrozenNetwork(model, variables, normalization, crop)
        names = list(network.layers(model.channels))
        chosen = {"": names[-1], "_middle": names[(len(names) - 1) // 2]}
        return {
            suffix: flat_features(network.activation(variables, name, images_bhwc))
            for suffix, name in chosen.items()
        }

    @functools.partial(jax.jit, compiler_options=compiler_options())
    def without_skips(variables: Any, images_bhwc: Array, indices_b: Array) -> dict[str, Array]:
        clean = center_crop(images_bhwc, crop).astype(jnp.float32)
        corrupted = corrupt_for_evaluation(corruption, indices_b, clean)
        rebuilt = reconstruct(model, variables, normalization, corrupted, jnp.zeros(()))
        return {"psnr": psnr(rebuilt, clean)}

    def extract(variables: Any, data: Input) -> dict[str, Extracted]:
        def measure(batch: Batch, indices_b: Any) -> dict[str, Any]:
            found = features(variables, batch["image"])
            return {**found, "label": batch["label"], "index": indices_b}

        found = map_images(measure, parts(data))
        known = found["label"] != UNLABELLED
        labels_n, indices_n = found.pop("label")[known], found.pop("index")[known]
        return {end: Extracted(rows[known], labels_n, indices_n) for end, rows in found.items()}

    def monitor(variables: Any) -> dict[str, float]:
        figures = {}
        if learnt is not None:
            ours, theirs = extract(variables, learnt), extract(variables, asked)
            for end in ours:
                figures |= _accuracies(end, ours[end], theirs[end])
        if model.skip != "none":
            found = map_images(
                lambda batch, indices_b: without_skips(variables, batch["image"], indices_b),
                parts(asked),
            )
            figures["psnr_without_skips"] = float(found["psnr"].mean(dtype=np.float64))
        return figures

    return monitor


def _find_labelled(config: ConfigDict, train: Input, test: Input) -> Input | None:
    """Returns images with the classes of the test images, none of which is among them.

    Those of pre-training, or where these have a name of their own, and so may be anything, those of
    fine-tuning. None where there are none, or they cannot be read, which need not hold up a
    pre-training; the same for all processes.
    """
    wanted = test.source.features[1:]  # kind of label, classes
    if wanted[0] != "class":
        return None
    if not (config.data.pretrain_name or config.data.pretrain_split):
        return train if train.source.features[1:] == wanted else None
    try:
        with together():
            other = load_split(config, config.data.train_split)
    except UserError:
        return None
    is_alike = other.source.features[1:] == wanted and other.channels == test.channels
    return other if is_alike else None


def _some(data: Input, count: int) -> Input:
    """Returns images at fixed places, in order; all if there are no more."""
    # RandomState, because numpy keeps its streams for ever.
    drawn = np.random.RandomState(0).permutation(len(data))[:count]
    return data.take(np.sort(drawn))


def _accuracies(end: str, known: Extracted, asked: Extracted) -> dict[str, float]:
    """Returns both and their count, or nothing where nothing is to be told apart or measured."""
    # scikit-learn takes seconds to import, which runs without such figures need not wait for.
    from symskip_jax.analysis.label_probes import linear_accuracy
    from symskip_jax.analysis.neighbors import knn_accuracy

    if len(np.unique(known.labels_n)) < 2 or not len(asked.labels_n):
        return {}
    rows = known.features_nd, known.labels_n, asked.features_nd, asked.labels_n
    return {
        f"knn_accuracy{end}": knn_accuracy(*rows),
        f"linear_accuracy{end}": linear_accuracy(*rows),
        "monitor_count": len(asked.labels_n),
    }
