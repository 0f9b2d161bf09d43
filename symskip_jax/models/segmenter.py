"""The auto-encoder turned into a segmentation network (section 5.4.2)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array
from jax.typing import DTypeLike

from symskip_jax.models.autoencoder import ConvBlock, Decoder, DeconvBlock, Encoder, Skip
from symskip_jax.models.layers import Init, kernel_init
from symskip_jax.models.specs import Spec


class ClassDecoder(Decoder):
    """The decoder with a convolution to `channels` classes in place of its last deconvolution."""

    def output(self, x_bhwc: Array, image_size: tuple[int, int]) -> Array:
        """Adds the convolution, with a bias, to what is of the image's size already."""
        kernel, pad = self.spec.layers[0].kernel, self.spec.layers[0].kernel // 2
        classes = nn.Conv(
            self.channels,
            (kernel, kernel),
            padding=((pad, pad), (pad, pad)),
            dtype=self.dtype,
            kernel_init=kernel_init(self.initializer),
            name="classes",
        )
        return classes(x_bhwc)


class Segmenter(nn.Module):
    """Gives each pixel its class (section 5.4.2).

    Shapes: [B, H, W, C] normalised -> logits [B, H, W, num_classes], float32, for any H and W.

    The parameters are those of the auto-encoder, but `decoder/classes` for `decoder/0`; nothing
    leads from the input to the output directly.

    Attributes:
        spec: the encoder's table, whose first layer must have stride 1.
        num_classes: the background included.
        skip: `symmetric`, or `none` for no skips at all.
        initializer: initialisation of the kernels.
        dtype: compute dtype; parameters and statistics are float32.
        axis_name: mapped axis over which BatchNorm takes its statistics, under pmap.
        batch_norm_groups: contiguous parts of equal size that BatchNorm normalises each by itself
            in training; of the batch or, under pmap, of the images of all devices. What cannot be
            cut so is a `UserError`.
    """

    spec: Spec
    num_classes: int
    skip: Skip = "symmetric"
    initializer: Init = "gaussian"
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None
    batch_norm_groups: int = 1

    def setup(self) -> None:
        """Builds the two halves."""
        common = (self.initializer, self.dtype, self.axis_name)
        groups = self.batch_norm_groups
        self.encoder = Encoder(self.spec, *common, batch_norm_groups=groups)
        self.decoder = ClassDecoder(
            self.spec, self.num_classes, self.skip, *common, batch_norm_groups=groups
        )

    def __call__(self, images_bhwc: Array, *, train: bool) -> Array:
        """Returns the logits."""
        features, raws = self.encoder(images_bhwc, train=train)
        _, height, width, _ = images_bhwc.shape
        return self.decoder(features, raws, (height, width), train=train).astype(jnp.float32)


def apply_padded(model: Segmenter, variables: Any, images_bhwc: Array, sizes_bd: Array) -> Array:
    """Segments images of several sizes at once, each as if it had been given alone.

    A network pads each of its layers with zeros where the image ends. So what the layers make of
    the pixels beyond an image's size is set to zero, layer by layer, and the logits inside are
    those of the image without padding, to rounding.

    Args:
        model: the network.
        variables: its own.
        images_bhwc: [B, H, W, C] normalised, each in the upper left corner.
        sizes_bd: [B, 2] integer: height and width of each, at most (H, W).

    Returns:
        Logits [B, H, W, num_classes]; those beyond an image's size mean nothing.
    """
    sizes: Any = model.spec.sizes(sizes_bd[:, 0], sizes_bd[:, 1])  # pyright: ignore[reportArgumentType]

    def inside(layer: int) -> Callable[[Array], Array]:
        height_b, width_b = sizes[layer]

        def keep(x_bhwc: Array) -> Array:
            rows_bh = jnp.arange(x_bhwc.shape[1]) < height_b[:, None]
            columns_bw = jnp.arange(x_bhwc.shape[2]) < width_b[:, None]
            mask = rows_bh[:, :, None, None] & columns_bw[:, None, :, None]
            return jnp.where(mask, x_bhwc, jnp.zeros((), x_bhwc.dtype))

        return keep

    def intercept(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        outputs, module = call(*args, **kwargs), context.module
        if isinstance(module, ConvBlock):
            return jax.tree.map(inside(int(str(module.name)) + 1), outputs)
        if isinstance(module, DeconvBlock):
            return jax.tree.map(inside(int(str(module.name))), outputs)
        return outputs

    with nn.intercept_methods(intercept):
        return model.apply(variables, inside(0)(images_bhwc), train=False)  # pyright: ignore[reportReturnType]
