"""The denoising auto-encoder with symmetric skip connections (section 3.1)."""

from typing import Literal

import jax.numpy as jnp
from flax import linen as nn
from jax import Array
from jax.typing import DTypeLike

from symskip_jax.models.layers import Conv, Deconv, Init, batch_norm
from symskip_jax.models.specs import Layer, Spec

Skip = Literal["symmetric", "none"]


def skip_source(decoder_layer: int) -> int | None:
    """Returns the encoder layer whose raw output joins that of a decoder layer, if one does.

    Every second convolution is joined to its mirror (section 4). Decoder layer i undoes encoder
    layer i, so its output has the shape of the output of encoder layer i - 1. Layers count from 0.
    """
    return decoder_layer - 1 if decoder_layer >= 2 and decoder_layer % 2 == 0 else None


class ConvBlock(nn.Module):
    """Convolution, BatchNorm, ReLU. Returns the activation and the raw convolution output.

    Without `batch_norm` the convolution has a bias instead.
    """

    layer: Layer
    initializer: Init
    dtype: DTypeLike
    axis_name: str | None
    batch_norm: bool = True

    @nn.compact
    def __call__(self, x_bhwc: Array, *, train: bool) -> tuple[Array, Array]:
        kernel, stride, width = self.layer
        bias = not self.batch_norm
        raw = Conv(width, kernel, stride, self.initializer, self.dtype, bias, name="conv")(x_bhwc)
        y = raw
        if self.batch_norm:
            y = batch_norm(self.dtype, self.axis_name)(raw, use_running_average=not train)
        y = nn.relu(y)
        self.sow("intermediates", "raw", raw)
        self.sow("intermediates", "relu", y)
        return y, raw


class DeconvBlock(nn.Module):
    """Deconvolution, plus a raw output of the encoder where a skip ends, BatchNorm, ReLU.

    Without `batch_norm` the deconvolution has a bias instead.
    """

    layer: Layer
    features: int
    initializer: Init
    dtype: DTypeLike
    axis_name: str | None
    batch_norm: bool = True

    @nn.compact
    def __call__(
        self, x_bhwc: Array, skip_bhwc: Array | None, out_size: tuple[int, int], *, train: bool
    ) -> Array:
        kernel, stride, _ = self.layer
        deconv = Deconv(
            self.features,
            kernel,
            stride,
            self.initializer,
            self.dtype,
            use_bias=not self.batch_norm,
            name="deconv",
        )
        raw = deconv(x_bhwc, out_size)
        y = raw if skip_bhwc is None else raw + skip_bhwc
        if self.batch_norm:
            y = batch_norm(self.dtype, self.axis_name)(y, use_running_average=not train)
        y = nn.relu(y)
        self.sow("intermediates", "raw", raw)
        self.sow("intermediates", "relu", y)
        return y


class OutputBlock(nn.Module):
    """The last deconvolution: to the image's channels, with a bias, neither BatchNorm nor ReLU."""

    layer: Layer
    features: int
    initializer: Init
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x_bhwc: Array, out_size: tuple[int, int]) -> Array:
        kernel, stride, _ = self.layer
        deconv = Deconv(
            self.features,
            kernel,
            stride,
            self.initializer,
            self.dtype,
            use_bias=True,
            name="deconv",
        )
        raw = deconv(x_bhwc, out_size)
        self.sow("intermediates", "raw", raw)
        return raw


class Encoder(nn.Module):
    """The chain of convolutions of a spec.

    Shapes: [B, H, W, C] normalised -> features [B, h, w, width of the last layer] and the raw
    output of each convolution.
    """

    spec: Spec
    initializer: Init = "gaussian"
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images_bhwc: Array, *, train: bool) -> tuple[Array, list[Array]]:
        x, raws = images_bhwc, []
        for i, layer in enumerate(self.spec.layers):
            block = ConvBlock(
                layer,
                self.initializer,
                self.dtype,
                self.axis_name,
                self.spec.batch_norm,
                name=str(i),
            )
            x, raw = block(x, train=train)
            raws.append(raw)
        return x, raws


class Decoder(nn.Module):
    """The mirror of the encoder, layer by layer, for any height and width.

    Shapes: features [B, h, w, width] -> [B, H, W, channels], (H, W) = `image_size`.
    """

    spec: Spec
    channels: int
    skip: Skip = "symmetric"
    initializer: Init = "gaussian"
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self,
        features_bhwc: Array,
        encoder_raws: list[Array],
        image_size: tuple[int, int],
        *,
        train: bool,
    ) -> Array:
        layers = self.spec.layers
        sizes = self.spec.sizes(*image_size)
        x = features_bhwc
        for i in reversed(range(1, len(layers))):
            source = skip_source(i) if self.skip == "symmetric" else None
            block = DeconvBlock(
                layers[i],
                layers[i - 1].width,
                self.initializer,
                self.dtype,
                self.axis_name,
                self.spec.batch_norm,
                name=str(i),
            )
            x = block(x, None if source is None else encoder_raws[source], sizes[i], train=train)
        return OutputBlock(layers[0], self.channels, self.initializer, self.dtype, name="0")(
            x, sizes[0]
        )


class AutoEncoder(nn.Module):
    """Reconstructs clean images from corrupted ones (sections 3.1 and 3.3).

    Shapes: [B, H, W, C] normalised -> [B, H, W, C] normalised, float32, for any H and W.

    Attributes:
        spec: the encoder's table.
        channels: C.
        skip: `symmetric`, or `none` to keep only the input-to-output one (footnote 1).
        initializer: initialisation of the kernels.
        dtype: compute dtype; parameters and statistics are float32.
        axis_name: mapped axis over which BatchNorm takes its statistics, under pmap.
    """

    spec: Spec
    channels: int
    skip: Skip = "symmetric"
    initializer: Init = "gaussian"
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None

    def setup(self) -> None:
        """Builds the two halves."""
        self.encoder = Encoder(self.spec, self.initializer, self.dtype, self.axis_name)
        self.decoder = Decoder(
            self.spec, self.channels, self.skip, self.initializer, self.dtype, self.axis_name
        )

    def __call__(self, corrupted_bhwc: Array, *, train: bool) -> Array:
        """Returns the reconstruction; its residual to the input is what the network computes."""
        features, raws = self.encoder(corrupted_bhwc, train=train)
        _, height, width, _ = corrupted_bhwc.shape
        residual = self.decoder(features, raws, (height, width), train=train)
        return corrupted_bhwc.astype(jnp.float32) + residual.astype(jnp.float32)
