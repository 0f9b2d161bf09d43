"""Both probes of one layer, measured on test images (section 5.1)."""

import functools
import math
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from symskip_jax import metrics
from symskip_jax.analysis.deconvolution_probe import Recipe, train_stack
from symskip_jax.analysis.features import pooled
from symskip_jax.analysis.frozen import FrozenNetwork
from symskip_jax.analysis.softmax_probe import fit_softmax
from symskip_jax.analysis.standardize import ChannelScale, measure_scale
from symskip_jax.evaluation.batches import Parts, map_images
from symskip_jax.models.deconvolutions import DeconvolutionStack, StackShape
from symskip_jax.training.compilation import compiler_options
from symskip_jax.training.steps import Batch


class Examples(NamedTuple):
    """Labelled images that probes learn from: uint8 [N, H, W, C], integer [N], how many classes."""

    images_nhwc: np.ndarray
    labels_n: np.ndarray
    num_classes: int


def classify(
    network: FrozenNetwork,
    layer: str,
    train: Examples,
    test: Parts,
    *,
    grid: int,
    l2s: Sequence[float],
    batch_size: int,
    seed: int,
) -> dict[str, Any]:
    """Measures softmax regression on a layer's activation (figure 3a).

    Each channel is standardised over the training images; the features are divided by the square
    root of their number, so that an image's are of about unit length and a penalty means the same
    in every layer.

    Args:
        network: that the activations are taken from.
        layer: its name.
        train: what it learns from.
        test: what it is measured on: `image` and `label`.
        grid: 0 for the whole activation, flattened; else its means over grid x grid cells.
        l2s: see `fit_softmax`.
        batch_size: images at once when activations are computed.
        seed: of the images held out to choose among `l2s`.

    Returns:
        `accuracy` on the test images (0 to 1), `features` (how many), `parameters`, `l2` (the
        penalty chosen), `gradient_norm` (where the fit was left: above 1e-4 it is short of the
        minimum), `count` (images measured), `seconds`.
    """
    began = time.perf_counter()

    def features(variables: Any, images: Array) -> Array:
        return pooled(network.activation(variables, layer, images), grid)

    compiled = jax.jit(features, compiler_options=compiler_options())
    images = train.images_nhwc
    pieces = [
        compiled(network.variables, images[start : start + batch_size])
        for start in range(0, len(images), batch_size)
    ]
    scale = measure_scale(pieces)
    for i, piece in enumerate(pieces):  # one by one, as together they may be large
        pieces[i] = _flatten(scale, piece)
    inputs = jnp.concatenate(pieces)
    del pieces
    fitted = fit_softmax(inputs, train.labels_n, train.num_classes, l2s, seed)

    @functools.partial(jax.jit, compiler_options=compiler_options())
    def correct(variables: Any, weights: Array, bias: Array, batch: Batch) -> dict[str, Array]:
        inputs = _flatten(scale, features(variables, batch["image"]))
        logits = fitted._replace(weights_dk=weights, bias_k=bias).logits(inputs)
        return {"accuracy": metrics.accuracy(logits, batch["label"])}

    found = map_images(
        lambda batch, _: correct(network.variables, fitted.weights_dk, fitted.bias_k, batch), test
    )["accuracy"]
    return {
        "accuracy": float(found.mean(dtype=np.float64)),
        "features": len(fitted.weights_dk),
        "parameters": fitted.weights_dk.size + fitted.bias_k.size,
        "l2": fitted.l2,
        "gradient_norm": fitted.gradient_norm,
        "count": len(found),
        "seconds": round(time.perf_counter() - began, 3),
    }


def rebuild(
    network: FrozenNetwork,
    layer: str,
    shape: StackShape,
    train: Examples,
    test: Parts,
    recipe: Recipe,
    batch_size: int,
) -> dict[str, Any]:
    """Measures how well a stack of deconvolutions rebuilds images from an activation (figure 3b).

    Args:
        network: that the activations are taken from.
        layer: its name.
        shape: of the stack.
        train: what it learns from.
        test: what it is measured on.
        recipe: how it learns.
        batch_size: images at once when activations are measured.

    Returns:
        `psnr` (dB, peak 255, mean over the test images, clipped to 0-255), `last_gain` (dB by which
        the error of the images learned from fell from the last epoch but one to the last; None of
        one epoch), `parameters`, `widths` of the stack, `count` (images measured), `seconds`.
    """
    began = time.perf_counter()

    @functools.partial(jax.jit, compiler_options=compiler_options())
    def activation(variables: Any, images: Array) -> Array:
        return network.activation(variables, layer, images)

    images = train.images_nhwc
    scale: ChannelScale = measure_scale(
        activation(network.variables, images[start : start + batch_size])
        for start in range(0, len(images), batch_size)
    )
    stack = DeconvolutionStack(shape)
    params, losses = train_stack(stack, network, layer, scale, jnp.asarray(images), recipe)

    @functools.partial(jax.jit, compiler_options=compiler_options())
    def measure(params: Any, variables: Any, batch: Batch) -> dict[str, Array]:
        features = scale(network.activation(variables, layer, batch["image"]))
        output: Any = stack.apply({"params": params}, features)
        pixels = jnp.clip(network.normalization.denormalize(output), 0, 255)
        return {"psnr": metrics.psnr(pixels, network.cropped(batch["image"]))}

    found = map_images(lambda batch, _: measure(params, network.variables, batch), test)["psnr"]
    return {
        "psnr": float(found.mean(dtype=np.float64)),
        "last_gain": 10 * math.log10(losses[-2] / losses[-1]) if len(losses) > 1 else None,
        "parameters": shape.parameters,
        "widths": list(shape.widths),
        "count": len(found),
        "seconds": round(time.perf_counter() - began, 3),
    }


def _flatten(scale: ChannelScale, features_bhwc: Array) -> Array:
    flat = scale(features_bhwc).reshape(len(features_bhwc), -1)
    return flat / np.float32(np.sqrt(flat.shape[1]))
