"""Convolution, its exact mirror, and the block of section 3.1 that each is the heart of."""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array, lax
from jax.typing import DTypeLike

from symskip_jax.errors import UserError

Init = Literal["gaussian", "he"]

BATCH_NORM_MOMENTUM = 0.9
BATCH_NORM_EPSILON = 1e-5

_DIMENSIONS = ("NHWC", "HWIO", "NHWC")


def kernel_init(init: Init, batch_axis: tuple[int, ...] = ()) -> jax.nn.initializers.Initializer:
    """Returns the paper's Gaussian(0, 0.01) (section 4) or He's Gaussian(0, sqrt(2 / fan_in)).

    Axes of a kernel in `batch_axis` count for neither its inputs nor its outputs.
    """
    if init == "gaussian":
        return nn.initializers.normal(0.01)
    return nn.initializers.variance_scaling(2.0, "fan_in", "normal", batch_axis=batch_axis)


def strided_convolution(x_bhwc: Array, kernel_hwio: Array, stride: int) -> Array:
    """Convolves with (kernel - 1) / 2 zeros on each side, as torch's Conv2d(padding=kernel // 2).

    Args:
        x_bhwc: [B, H, W, I].
        kernel_hwio: [K, K, I, O], K odd.
        stride: step between outputs.

    Returns:
        [B, ceil(H / stride), ceil(W / stride), O].
    """
    pad = kernel_hwio.shape[0] // 2
    return lax.conv_general_dilated(
        x_bhwc,
        kernel_hwio,
        (stride, stride),
        ((pad, pad), (pad, pad)),
        dimension_numbers=_DIMENSIONS,
    )


def transposed_convolution(
    x_bhwc: Array, kernel_hwio: Array, stride: int, out_size: tuple[int, int]
) -> Array:
    """Maps the output size of `strided_convolution` back to the exact size that went in.

    It is the transpose of that convolution (torch's ConvTranspose2d with padding=kernel // 2 and
    whatever output_padding gives `out_size`), computed one output phase at a time: the outputs
    whose row and column leave the same remainder by the stride come from an ordinary convolution
    with a part of the kernel. So neither it nor its gradients need an input-dilated convolution,
    which XLA runs slowly on CPU and CUDA.

    Args:
        x_bhwc: [B, ceil(H / stride), ceil(W / stride), I].
        kernel_hwio: [K, K, I, O], K odd, K >= stride; tap k of input j lands on output
            stride * j - K // 2 + k.
        stride: step between the inputs, in outputs.
        out_size: (H, W).

    Returns:
        [B, H, W, O].
    """
    batch, rows, columns, _ = x_bhwc.shape
    pad = kernel_hwio.shape[0] // 2

    def phase(r: int, length: int) -> tuple[slice, tuple[int, int]]:
        first_tap = (r + pad) % stride
        taps = slice(first_tap, None, stride)
        count = len(range(*taps.indices(kernel_hwio.shape[0])))
        low = count - 1 - (r + pad - first_tap) // stride
        return taps, (low, count - 1 - low)

    phases = []
    for r in range(stride):
        taps_h, pad_h = phase(r, rows)
        for c in range(stride):
            taps_w, pad_w = phase(c, columns)
            part = kernel_hwio[taps_h, taps_w][::-1, ::-1]
            phases.append(
                lax.conv_general_dilated(
                    x_bhwc, part, (1, 1), (pad_h, pad_w), dimension_numbers=_DIMENSIONS
                )
            )
    if stride == 1:
        return phases[0]
    y = jnp.stack(phases, axis=3).reshape(batch, rows, columns, stride, stride, -1)
    y = y.transpose(0, 1, 3, 2, 4, 5).reshape(batch, rows * stride, columns * stride, -1)
    return y[:, : out_size[0], : out_size[1]]


class Conv(nn.Module):
    """Strided convolution, zero-padded evenly.

    Shapes: [B, H, W, I] -> [B, ceil(H / stride), ceil(W / stride), features].
    """

    features: int
    kernel: int
    stride: int
    initializer: Init
    dtype: DTypeLike
    use_bias: bool = False

    @nn.compact
    def __call__(self, x_bhwc: Array) -> Array:
        shape = (self.kernel, self.kernel, x_bhwc.shape[-1], self.features)
        kernel = self.param("kernel", kernel_init(self.initializer), shape, jnp.float32)
        y = strided_convolution(x_bhwc.astype(self.dtype), kernel.astype(self.dtype), self.stride)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros_init(), (self.features,), jnp.float32)
            y = y + bias.astype(self.dtype)
        return y


class Deconv(nn.Module):
    """Mirror of `Conv`; see `transposed_convolution`.

    Shapes: [B, ceil(H / stride), ceil(W / stride), I] -> [B, H, W, features], (H, W) = `out_size`.
    """

    features: int
    kernel: int
    stride: int
    initializer: Init
    dtype: DTypeLike
    use_bias: bool = False

    @nn.compact
    def __call__(self, x_bhwc: Array, out_size: tuple[int, int]) -> Array:
        shape = (self.kernel, self.kernel, x_bhwc.shape[-1], self.features)
        kernel = self.param("kernel", kernel_init(self.initializer), shape, jnp.float32)
        y = transposed_convolution(
            x_bhwc.astype(self.dtype), kernel.astype(self.dtype), self.stride, out_size
        )
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros_init(), (self.features,), jnp.float32)
            y = y + bias.astype(self.dtype)
        return y


class GroupedBatchNorm(nn.Module):
    """BatchNorm that in training normalises each of several parts of a batch by itself.

    The parts are contiguous and of one size, in the order in which a mesh splits a batch over its
    devices: no device asks another where a part lies on one. Their means and their variances are
    averaged for the running statistics. Names, shapes and dtypes of parameters and statistics are
    those of `nn.BatchNorm`, and so is all that it does in inference.

    Shapes: [B, H, W, C] -> [B, H, W, C].

    Attributes:
        groups: the parts; they divide B or, under pmap, the images of all devices.
        dtype: of the outputs; parameters, statistics and what is computed of them are float32.
        axis_name: the mapped axis, under pmap; its size is a multiple of `groups`, or divides it.

    Raises:
        UserError: the batch, or the devices, cannot be cut so.
    """

    groups: int
    dtype: DTypeLike
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x_bhwc: Array, *, use_running_average: bool) -> Array:
        shape = x_bhwc.shape[-1:]
        scale_c = self.param("scale", nn.initializers.ones_init(), shape, jnp.float32)
        bias_c = self.param("bias", nn.initializers.zeros_init(), shape, jnp.float32)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape, jnp.float32)
        running_var = self.variable("batch_stats", "var", jnp.ones, shape, jnp.float32)

        def normalized(x: Array, mean: Array, var: Array) -> Array:
            factor = lax.rsqrt(var + BATCH_NORM_EPSILON) * scale_c
            return ((x - mean) * factor + bias_c).astype(self.dtype)

        # At initialisation there may be fewer images than parts, and no mapped axis.
        if use_running_average or self.is_initializing():
            return normalized(x_bhwc, running_mean.value, running_var.value)
        parts, sharing = self._cut(len(x_bhwc))
        x_gbhwc = x_bhwc.reshape(parts, -1, *x_bhwc.shape[1:])
        wide = x_gbhwc.astype(jnp.float32)
        moments = jnp.stack([wide.mean((1, 2, 3)), jnp.square(wide).mean((1, 2, 3))])
        if sharing is not None:
            moments = lax.pmean(moments, self.axis_name, axis_index_groups=sharing)
        mean_gc, square_gc = moments
        # Rounding may leave less than nothing.
        var_gc = jnp.maximum(square_gc - jnp.square(mean_gc), 0)
        latest = jnp.stack([mean_gc.mean(0), var_gc.mean(0)])
        if self.axis_name is not None:
            latest = lax.pmean(latest, self.axis_name)
        for running, value in zip((running_mean, running_var), latest, strict=True):
            kept = BATCH_NORM_MOMENTUM * running.value
            running.value = kept + (1 - BATCH_NORM_MOMENTUM) * value
        spread = (slice(None), None, None, None)
        return normalized(x_gbhwc, mean_gc[spread], var_gc[spread]).reshape(x_bhwc.shape)

    def _cut(self, count: int) -> tuple[int, list[list[int]] | None]:
        """Returns the parts of `count` images here, and which devices share one under pmap."""
        devices = 1 if self.axis_name is None else lax.axis_size(self.axis_name)
        parts = max(1, self.groups // devices)
        together = max(1, devices // self.groups)
        if parts * devices != self.groups * together or count % parts:
            on = f" on each of {devices} devices" if devices > 1 else ""
            raise UserError(
                f"{count} images{on} cannot be cut into {self.groups} groups for BatchNorm; "
                "choose another batch size or number of groups"
            )
        if together == 1:
            return parts, None
        firsts = range(0, devices, together)
        return parts, [list(range(first, first + together)) for first in firsts]


def batch_norm(
    dtype: DTypeLike, axis_name: str | None, groups: int = 1, name: str = "bn"
) -> nn.BatchNorm | GroupedBatchNorm:
    """Returns BatchNorm with float32 parameters and statistics, whatever the compute dtype.

    Args:
        dtype: of the outputs.
        axis_name: the mapped axis, under pmap.
        groups: parts of the batch that are normalised each by itself; see `GroupedBatchNorm`.
        name: of the layer.
    """
    if groups > 1:
        return GroupedBatchNorm(groups, dtype, axis_name, name=name)
    return nn.BatchNorm(
        momentum=BATCH_NORM_MOMENTUM,
        epsilon=BATCH_NORM_EPSILON,
        dtype=dtype,
        axis_name=axis_name,
        name=name,
    )
