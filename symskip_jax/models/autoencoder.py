"""The denoising auto-encoder with symmetric skip connections (section 3.1)."""

from typing import Literal

import jax.numpy as jnp
from flax import linen as nn
from jax import Array
from jax.typing import DTypeLike

from symskip_jax.models.context_encoder import ChannelWise
from symskip_jax.models.layers import Conv, Deconv, Init, batch_norm
from symskip_jax.models.specs import Layer, Spec

Skip = Literal["symmetric", "none"]
SkipPlacement = Literal["before", "after"]
SkipGate = Literal["none", "learned"]
Bottleneck = Literal["none", "channel_wise"]


def skip_source(decoder_layer: int) -> int | None:
    """Returns the encoder layer whose raw output joins that of a decoder layer, if one does.

    Every second convolution is joined to its mirror (section 4). Decoder layer i undoes encoder
    layer i, so its output has the shape of the output of encoder layer i - 1. Layers count from 0.
    """
    return decoder_layer - 1 if decoder_layer >= 2 and decoder_layer % 2 == 0 else None


def count_inner_skips(spec: Spec) -> int:
    """Returns how many skips join an encoder to its decoder; input to output is not among them.

    Skip k, from 0, ends in decoder layer 2 (k + 1); in `wide_resnet` in 2 k + 1.
    """
    return sum(skip_source(i) is not None for i in range(1, len(spec.layers)))


class ConvBlock(nn.Module):
    """Convolution, BatchNorm, ReLU. Returns the activation and the raw convolution output.

    Without `batch_norm` the convolution has a bias instead.
    """

    layer: Layer
    initializer: Init
    dtype: DTypeLike
    axis_name: str | None
    batch_norm: bool = True
    batch_norm_groups: int = 1

    @nn.compact
    def __call__(self, x_bhwc: Array, *, train: bool) -> tuple[Array, Array]:
        kernel, stride, width = self.layer
        bias = not self.batch_norm
        raw = Conv(width, kernel, stride, self.initializer, self.dtype, bias, name="conv")(x_bhwc)
        y = raw
        if self.batch_norm:
            norm = batch_norm(self.dtype, self.axis_name, self.batch_norm_groups)
            y = norm(raw, use_running_average=not train)
        y = nn.relu(y)
        self.sow("intermediates", "raw", raw)
        self.sow("intermediates", "relu", y)
        return y, raw


class DeconvBlock(nn.Module):
    """Deconvolution, plus an output of the encoder where a skip ends, BatchNorm, ReLU.

    A skip may end after the ReLU instead, and each of its channels may have a learned strength.
    Without `batch_norm` the deconvolution has a bias instead.
    """

    layer: Layer
    features: int
    initializer: Init
    dtype: DTypeLike
    axis_name: str | None
    skip_placement: SkipPlacement = "before"
    skip_gate: SkipGate = "none"
    batch_norm: bool = True
    batch_norm_groups: int = 1

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
        if skip_bhwc is not None and self.skip_gate == "learned":
            gate = self.param("skip_gate", nn.initializers.ones_init(), (self.features,))
            skip_bhwc = skip_bhwc * gate.astype(self.dtype)
        y = raw
        if skip_bhwc is not None and self.skip_placement == "before":
            y = raw + skip_bhwc
        if self.batch_norm:
            norm = batch_norm(self.dtype, self.axis_name, self.batch_norm_groups)
            y = norm(y, use_running_average=not train)
        y = nn.relu(y)
        if skip_bhwc is not None and self.skip_placement == "after":
            y = y + skip_bhwc
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

    Shapes: [B, H, W, C] normalised -> features [B, h, w, width of the last layer] and what each
    layer offers to a skip: its raw output, or its activation if skips are placed after it.
    """

    spec: Spec
    initializer: Init = "gaussian"
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None
    skip_placement: SkipPlacement = "before"
    batch_norm_groups: int = 1

    @nn.compact
    def __call__(self, images_bhwc: Array, *, train: bool) -> tuple[Array, list[Array]]:
        x, offered = images_bhwc, []
        for i, layer in enumerate(self.spec.layers):
            block = ConvBlock(
                layer,
                self.initializer,
                self.dtype,
                self.axis_name,
                self.spec.batch_norm,
                self.batch_norm_groups,
                name=str(i),
            )
            x, raw = block(x, train=train)
            offered.append(raw if self.skip_placement == "before" else x)
        return x, offered


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
    skip_placement: SkipPlacement = "before"
    skip_gate: SkipGate = "none"
    batch_norm_groups: int = 1

    @nn.compact
    def __call__(
        self,
        features_bhwc: Array,
        encoder_outputs: list[Array],
        image_size: tuple[int, int],
        *,
        train: bool,
        skip_scale: Array | float | None = None,
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
                self.skip_placement,
                self.skip_gate,
                self.spec.batch_norm,
                self.batch_norm_groups,
                name=str(i),
            )
            skip = None
            if source is not None:
                skip = scaled_skip(encoder_outputs[source], skip_scale, source // 2)
            x = block(x, skip, sizes[i], train=train)
        return self.output(x, sizes[0])

    def output(self, x_bhwc: Array, image_size: tuple[int, int]) -> Array:
        """Adds what stands in the place of the last deconvolution."""
        block = OutputBlock(
            self.spec.layers[0], self.channels, self.initializer, self.dtype, name="0"
        )
        return block(x_bhwc, image_size)


def scaled_skip(x_bhwc: Array, skip_scale: Array | float | None, skip: int) -> Array:
    """Multiplies what inner skip number `skip` carries; see `AutoEncoder.__call__`."""
    if skip_scale is None:
        return x_bhwc
    scale = jnp.asarray(skip_scale, x_bhwc.dtype)
    return x_bhwc * (scale if scale.ndim == 0 else scale[:, skip, None, None, None])


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
        skip_placement: `before` adds raw outputs, BatchNorm and ReLU follow; `after`, which is not
            of the paper, adds the activation of the encoder to that of the decoder.
        skip_gate: `learned` multiplies each channel of an inner skip by a number, 1 at first; not
            of the paper.
        bottleneck: `channel_wise` puts Context Encoder's layer between the halves (Pathak et al.
            2016), and leaves the input-to-output skip away. It serves only the image size of its
            initialisation.
        batch_norm_groups: contiguous parts of equal size that BatchNorm normalises each by itself
            in training; of the batch or, under pmap, of the images of all devices. What cannot be
            cut so is a `UserError`.
    """

    spec: Spec
    channels: int
    skip: Skip = "symmetric"
    initializer: Init = "gaussian"
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None
    skip_placement: SkipPlacement = "before"
    skip_gate: SkipGate = "none"
    bottleneck: Bottleneck = "none"
    batch_norm_groups: int = 1

    def setup(self) -> None:
        """Builds the two halves, and what is between them."""
        self.encoder = Encoder(
            self.spec,
            self.initializer,
            self.dtype,
            self.axis_name,
            self.skip_placement,
            self.batch_norm_groups,
        )
        self.decoder = Decoder(
            self.spec,
            self.channels,
            self.skip,
            self.initializer,
            self.dtype,
            self.axis_name,
            self.skip_placement,
            self.skip_gate,
            self.batch_norm_groups,
        )
        if self.bottleneck == "channel_wise":
            self.channel_wise = ChannelWise(
                self.initializer, self.dtype, self.axis_name, self.batch_norm_groups
            )

    def __call__(
        self, corrupted_bhwc: Array, *, train: bool, skip_scale: Array | float | None = None
    ) -> Array:
        """Returns the reconstruction.

        Args:
            corrupted_bhwc: [B, H, W, C] normalised.
            train: whether BatchNorm takes the statistics of the batch.
            skip_scale: what the inner skips are multiplied by: a number, or [B, inner skips],
                those nearest to the image first; None for 1.

        Returns:
            [B, H, W, C] normalised, float32.
        """
        features, offered = self.encoder(corrupted_bhwc, train=train)
        _, height, width, _ = corrupted_bhwc.shape
        if self.bottleneck == "channel_wise":
            features = self.channel_wise(features, train=train)
        decoded = self.decoder(
            features, offered, (height, width), train=train, skip_scale=skip_scale
        ).astype(jnp.float32)
        if self.bottleneck == "channel_wise":
            return decoded
        # What the network computes is the residual to its input.
        return corrupted_bhwc.astype(jnp.float32) + decoded
