"""What one layer of a frozen network makes of images."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from symskip_jax.models import AutoEncoder, Classifier, Segmenter, activations
from symskip_jax.transforms import Normalization, center_crop


@dataclasses.dataclass(frozen=True, eq=False)
class FrozenNetwork:
    """A network in inference mode, its variables as they are.

    Attributes:
        model: of any kind that has an encoder.
        variables: its `params` and `batch_stats`.
        normalization: of the pixels, as in training.
        crop: (h, w) of the central crop that it is shown.
    """

    model: AutoEncoder | Classifier | Segmenter
    variables: Mapping[str, Any]
    normalization: Normalization
    crop: tuple[int, int]

    def layers(self, channels: int) -> dict[str, tuple[int, int, int]]:
        """Returns the (h, w, width) of the ReLU of every encoder layer, from the image down."""
        names = {
            name: shape
            for name, shape in self.shapes(channels).items()
            if name.startswith("encoder.") and name.endswith(".relu")
        }
        return {name: (h, w, width) for name, (h, w, width) in names.items()}

    def shapes(self, channels: int) -> dict[str, tuple[int, ...]]:
        """Returns the shape of every activation of an image of so many channels, by name."""
        images = jax.ShapeDtypeStruct((1, *self.crop, channels), jnp.float32)
        found = jax.eval_shape(lambda v, x: activations(self.model, v, x), self.variables, images)
        names = sorted(found, key=_in_order)
        return {name: tuple(found[name].shape[1:]) for name in names}

    def cropped(self, images_bhwc: Array) -> Array:
        """Returns the central crops of pixels [B, H, W, C] on the 0-255 scale, float32."""
        return center_crop(images_bhwc, self.crop).astype(jnp.float32)

    def normalized(self, images_bhwc: Array) -> Array:
        """Returns the same, normalised."""
        return self.normalization.normalize(self.cropped(images_bhwc))

    def activation(self, variables: Mapping[str, Any], name: str, images_bhwc: Array) -> Array:
        """Returns one activation, float32 [B, h, w, width], of pixels [B, H, W, C], 0 to 255.

        The variables are an argument so that a compiled caller need not hold them as constants;
        compiled, the layers above are left out.
        """
        found = activations(self.model, variables, self.normalized(images_bhwc))
        return found[name].astype(jnp.float32)


def _in_order(name: str) -> list[tuple[bool, int, str]]:
    """Sorts names by their words, numbers by their size."""
    return [(it.isdigit(), int(it) if it.isdigit() else 0, it) for it in name.split(".")]
