"""Wide ResNet as an auto-encoder and as a classifier (supplement C).

A chain of convolution, BatchNorm and ReLU like the other networks, but for the shortcuts: what the
second convolution of a block gives is added, before its BatchNorm, to what the block began from. So
each block is the pre-activation one of Zagoruyko and Komodakis, the BatchNorm and ReLU that open it
being those of the layer before.
"""

import jax.numpy as jnp
from flax import linen as nn
from jax import Array
from jax.typing import DTypeLike

from symskip_jax.models.autoencoder import AutoEncoder, OutputBlock, Skip, scaled_skip
from symskip_jax.models.classifier import Classifier, Head
from symskip_jax.models.layers import Conv, Deconv, Init, batch_norm
from symskip_jax.models.specs import Layer, Spec


class WideConv(nn.Module):
    """Convolution, plus a shortcut where a block ends, BatchNorm, ReLU.

    Returns the activation and the sum that it was made of.
    """

    layer: Layer
    initializer: Init
    dtype: DTypeLike
    axis_name: str | None
    batch_norm_groups: int = 1

    @nn.compact
    def __call__(
        self, x_bhwc: Array, shortcut_bhwc: Array | None, *, train: bool
    ) -> tuple[Array, Array]:
        kernel, stride, width = self.layer
        raw = Conv(width, kernel, stride, self.initializer, self.dtype, name="conv")(x_bhwc)
        summed = raw if shortcut_bhwc is None else raw + shortcut_bhwc
        norm = batch_norm(self.dtype, self.axis_name, self.batch_norm_groups)
        y = nn.relu(norm(summed, use_running_average=not train))
        self.sow("intermediates", "raw", raw)
        self.sow("intermediates", "relu", y)
        return y, summed


class WideDeconv(nn.Module):
    """Deconvolution, plus a shortcut and a skip where a block ends, BatchNorm, ReLU.

    Returns the activation and the sum that it was made of.
    """

    layer: Layer
    features: int
    initializer: Init
    dtype: DTypeLike
    axis_name: str | None
    batch_norm_groups: int = 1

    @nn.compact
    def __call__(
        self, x_bhwc: Array, added: list[Array], out_size: tuple[int, int], *, train: bool
    ) -> tuple[Array, Array]:
        kernel, stride, _ = self.layer
        raw = Deconv(self.features, kernel, stride, self.initializer, self.dtype, name="deconv")(
            x_bhwc, out_size
        )
        summed = sum(added, start=raw)
        norm = batch_norm(self.dtype, self.axis_name, self.batch_norm_groups)
        y = nn.relu(norm(summed, use_running_average=not train))
        self.sow("intermediates", "raw", raw)
        self.sow("intermediates", "relu", y)
        return y, summed


class WideEncoder(nn.Module):
    """Shapes: [B, H, W, C] normalised -> features [B, h, w, width of the last layer].

    Beside them it gives the sum before the BatchNorm of each layer: raw outputs inside a block, the
    residual stream at its end.
    """

    spec: Spec
    initializer: Init = "gaussian"
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None
    batch_norm_groups: int = 1

    @nn.compact
    def __call__(self, images_bhwc: Array, *, train: bool) -> tuple[Array, list[Array]]:
        layers = self.spec.layers
        x, sums, shortcut = images_bhwc, [], None
        for i, layer in enumerate(layers):
            if _opens_block(i):
                shortcut = sums[-1]
                if _changes(layers, i):
                    project = Conv(
                        layer.width,
                        1,
                        layer.stride,
                        self.initializer,
                        self.dtype,
                        name=f"shortcut{i}",
                    )
                    shortcut = project(x)
            unit = WideConv(
                layer,
                self.initializer,
                self.dtype,
                self.axis_name,
                self.batch_norm_groups,
                name=str(i),
            )
            x, summed = unit(x, None if _opens_block(i) else shortcut, train=train)
            sums.append(summed)
        return x, sums


class WideDecoder(nn.Module):
    """The mirror of the encoder, block by block, for any height and width.

    A shortcut to another width or size is a 1x1 convolution, of which each pixel is repeated where
    the block doubles the size. Each block's end is joined to the stream of the encoder where that
    had the same shape, by a skip.

    Shapes: features [B, h, w, width] -> [B, H, W, channels], (H, W) = `image_size`.
    """

    spec: Spec
    channels: int
    skip: Skip = "symmetric"
    initializer: Init = "gaussian"
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None
    batch_norm_groups: int = 1

    @nn.compact
    def __call__(
        self,
        features_bhwc: Array,
        encoder_sums: list[Array],
        image_size: tuple[int, int],
        *,
        train: bool,
        skip_scale: Array | float | None = None,
    ) -> Array:
        layers, sizes = self.spec.layers, self.spec.sizes(*image_size)
        x = stream = features_bhwc
        shortcut = features_bhwc
        for i in reversed(range(1, len(layers))):
            features = layers[i - 1].width
            ends = _opens_block(i)  # what opens a block in the encoder ends its mirror
            if not ends:
                shortcut = stream
                if _changes(layers, i - 1):
                    width, stride = layers[i - 2].width, layers[i - 1].stride
                    project = Conv(
                        width, 1, 1, self.initializer, self.dtype, name=f"shortcut{i - 1}"
                    )
                    shortcut = _enlarged(project(x), stride, sizes[i - 1])
            added = [shortcut] if ends else []
            if ends and self.skip == "symmetric":
                added.append(scaled_skip(encoder_sums[i - 1], skip_scale, i // 2))
            unit = WideDeconv(
                layers[i],
                features,
                self.initializer,
                self.dtype,
                self.axis_name,
                self.batch_norm_groups,
                name=str(i),
            )
            x, stream = unit(x, added, sizes[i], train=train)
        return OutputBlock(layers[0], self.channels, self.initializer, self.dtype, name="0")(
            x, sizes[0]
        )


class WideAutoEncoder(AutoEncoder):
    """The auto-encoder of `wide_resnet`; see `AutoEncoder`."""

    def setup(self) -> None:
        """Builds the two halves."""
        common = (self.initializer, self.dtype, self.axis_name, self.batch_norm_groups)
        self.encoder = WideEncoder(self.spec, *common)
        self.decoder = WideDecoder(self.spec, self.channels, self.skip, *common)


class WideClassifier(Classifier):
    """The classifier of `wide_resnet`; see `Classifier`."""

    def setup(self) -> None:
        """Builds the encoder and the head."""
        self.encoder = WideEncoder(
            self.spec, self.initializer, self.dtype, self.axis_name, self.batch_norm_groups
        )
        self.head = Head(
            self.spec.head, self.num_classes, initializer=self.initializer, dtype=self.dtype
        )


def _opens_block(layer: int) -> bool:
    """Whether a layer of the encoder is the first of its block."""
    return layer % 2 == 1


def _changes(layers: tuple[Layer, ...], first: int) -> bool:
    """Whether the block that a layer opens gives another shape than it gets."""
    return layers[first].stride != 1 or layers[first].width != layers[first - 1].width


def _enlarged(x_bhwc: Array, stride: int, out_size: tuple[int, int]) -> Array:
    repeated = x_bhwc.repeat(stride, axis=1).repeat(stride, axis=2)
    return repeated[:, : out_size[0], : out_size[1]]
