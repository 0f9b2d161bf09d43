"""What Context Encoder adds to an encoder and a decoder (Pathak et al. 2016, section 3)."""

import jax.numpy as jnp
from flax import linen as nn
from jax import Array
from jax.typing import DTypeLike

from symskip_jax.models.layers import Conv, Init, batch_norm, kernel_init
from symskip_jax.models.specs import Layer

LEAKY_SLOPE = 0.2
SMALLEST_SIDE = 4


class ChannelWise(nn.Module):
    """Channel-wise fully connected layer, then a 1x1 convolution, BatchNorm and ReLU.

    Each channel has a matrix of its own from all its places to all its places; the convolution then
    mixes the channels.

    Shapes: [B, h, w, C] -> [B, h, w, C], for the h and w that it was initialised with.
    """

    initializer: Init = "gaussian"
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None
    batch_norm_groups: int = 1

    @nn.compact
    def __call__(self, features_bhwc: Array, *, train: bool) -> Array:
        batch, height, width, channels = features_bhwc.shape
        places = height * width
        init = kernel_init(self.initializer, batch_axis=(0,))
        kernel_cij = self.param("kernel", init, (channels, places, places), jnp.float32)
        spread = jnp.einsum(
            "bic,cij->bjc",
            features_bhwc.reshape(batch, places, channels).astype(self.dtype),
            kernel_cij.astype(self.dtype),
        )
        mix = Conv(channels, 1, 1, self.initializer, self.dtype, name="conv")
        raw = mix(spread.reshape(features_bhwc.shape))
        norm = batch_norm(self.dtype, self.axis_name, self.batch_norm_groups)
        y = nn.relu(norm(raw, use_running_average=not train))
        self.sow("intermediates", "raw", raw)
        self.sow("intermediates", "relu", y)
        return y


def discriminator_layers(image_size: tuple[int, int], width: int = 64) -> tuple[Layer, ...]:
    """Returns the convolutions of a discriminator like DCGAN's (Radford et al. 2015).

    5x5 kernels of stride 2, until no side is above 4; the widths double from `width` to 8 times it.
    """
    layers, side = [], max(image_size)
    while side > SMALLEST_SIDE or not layers:
        layers.append(Layer(5, 2, width * min(8, 2 ** len(layers))))
        side = -(-side // 2)
    return tuple(layers)


class Discriminator(nn.Module):
    """Tells clean images from reconstructions.

    Convolutions with leaky ReLUs, and BatchNorm but for the first, then one linear unit.

    Shapes: [B, H, W, C] normalised -> logits [B] float32, above 0 for clean; for the H and W that
    it was initialised with.
    """

    layers: tuple[Layer, ...]
    initializer: Init = "gaussian"
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None
    batch_norm_groups: int = 1

    @nn.compact
    def __call__(self, images_bhwc: Array, *, train: bool) -> Array:
        x = images_bhwc
        for i, (kernel, stride, width) in enumerate(self.layers):
            x = Conv(width, kernel, stride, self.initializer, self.dtype, name=f"conv{i}")(x)
            if i > 0:
                groups = self.batch_norm_groups
                norm = batch_norm(self.dtype, self.axis_name, groups, name=f"bn{i}")
                x = norm(x, use_running_average=not train)
            x = nn.leaky_relu(x, LEAKY_SLOPE)
        init = kernel_init(self.initializer)
        logit = nn.Dense(1, dtype=self.dtype, kernel_init=init, name="clean")
        return logit(x.reshape(x.shape[0], -1)).astype(jnp.float32)[:, 0]
