"""What of a network is exported, as a function of pixels."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from symskip_jax.interop.facts import NetworkFacts
from symskip_jax.transforms import Normalization

# The trees of a network's variables that each part has.
_TREES = {
    "encoder": ("encoder",),
    "autoencoder": ("encoder", "channel_wise", "decoder"),
    "classifier": ("encoder", "head"),
    "segmenter": ("encoder", "decoder"),
}


def variables_of_part(part: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the variables that a part has, out of those of a whole network."""
    return {
        collection: {name: tree[name] for name in _TREES[part] if name in tree}
        for collection, tree in variables.items()
    }


def variable_shapes(part: str, model: nn.Module, image_shape: tuple[int, int, int]) -> Any:
    """Returns the shapes and dtypes of a part's variables.

    Args:
        part: of the model.
        model: the whole network.
        image_shape: (H, W, C).
    """

    def init() -> Any:
        images = jnp.zeros((1, *image_shape))
        return model.init(jax.random.key(0), images, method=_method(part))

    return {"batch_stats": {}} | jax.eval_shape(init)


def on_pixels(
    network: NetworkFacts, model: nn.Module, variables: Mapping[str, Any]
) -> Callable[[Array], Array]:
    """Returns a pure function of images [B, H, W, C], 0 to 255, of any dtype.

    An encoder gives its deepest features [B, h, w, width], a classifier logits [B, classes], a
    segmenter logits [B, H, W, classes], and an auto-encoder a reconstruction [B, H, W, C] on the
    0-255 scale, clipped to it; all float32.

    Args:
        network: which part of the model, and its normalisation.
        model: the whole network.
        variables: of the part at least.
    """
    normalization = Normalization(network.mean, network.std)
    is_scaled = network.part == "autoencoder" and network.skip_strength != 1
    options: dict[str, Any] = {"skip_scale": network.skip_strength} if is_scaled else {}

    def apply(images_bhwc: Array) -> Array:
        x = normalization.normalize(images_bhwc)
        y: Any = model.apply(variables, x, method=_method(network.part), **options)
        if network.part == "autoencoder":
            return jnp.clip(normalization.denormalize(y), 0, 255)
        return y.astype(jnp.float32)

    return apply


def _method(part: str) -> Callable[..., Array]:
    if part == "encoder":
        return lambda model, x: model.encoder(x, train=False)[0]
    return lambda model, x, **options: model(x, train=False, **options)
