"""The networks in plain torch modules, written from the paper, and how they take our parameters.

State dicts have the names and layouts of the export: `encoder.{i}.conv.weight` (OIHW),
`encoder.{i}.bn.*`, `decoder.{i}.deconv.weight` (IOHW, as ConvTranspose2d), `decoder.{i}.bn.*`,
`decoder.0.deconv.bias` and `head.*`, where decoder i is the mirror of encoder i. It needs torch
(extra `interop`) and NumPy, not JAX: a network is given by its table of (kernel, stride, width).
`symskip_jax.interop.torch_file.load` makes one of these of an exported file.

Public: the names in `__all__`, which stay as they are until the next major version, and so do the
names in their state dicts; what else they hold, and are made of, may change.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from symskip_jax.interop import naming

__all__ = ["AutoEncoder", "Classifier", "Encoder", "Segmenter"]

# (kernel, stride, width) from the image to the deepest features; kernels are odd and no smaller
# than their strides.
Table = Sequence[tuple[int, int, int]]
Skip = Literal["symmetric", "none"]


class ConvLayer(nn.Module):
    """A convolution with its BatchNorm, or with a bias in its place; the networks call the parts.

    Attributes:
        conv: [B, fan_in, H, W] -> [B, width, ceil(H / stride), ceil(W / stride)].
        bn: of its output; None where there is none.
    """

    def __init__(
        self, fan_in: int, kernel: int, stride: int, width: int, batch_norm: bool = True
    ) -> None:
        """Builds the layer.

        Args:
            fan_in: channels of what comes in.
            kernel: odd.
            stride: no more than the kernel.
            width: channels of what goes out.
            batch_norm: whether it has BatchNorm; where not, it has a bias.
        """
        super().__init__()
        pad, bias = kernel // 2, not batch_norm
        self.conv = nn.Conv2d(fan_in, width, kernel, stride, padding=pad, bias=bias)
        self.bn = nn.BatchNorm2d(width) if batch_norm else None


class DeconvLayer(nn.Module):
    """A deconvolution with its BatchNorm, or with a bias in its place, as the last one has.

    Attributes:
        deconv: [B, fan_in, h, w] -> [B, width, H, W] for the `output_size` (H, W) that it is called
            with, of which a convolution of the same kernel and stride makes (h, w).
        bn: of its output; None where there is none.
    """

    def __init__(
        self, fan_in: int, kernel: int, stride: int, width: int, batch_norm: bool = True
    ) -> None:
        """Builds the layer; what it takes is what `ConvLayer` takes."""
        super().__init__()
        pad, bias = kernel // 2, not batch_norm
        self.deconv = nn.ConvTranspose2d(fan_in, width, kernel, stride, padding=pad, bias=bias)
        self.bn = nn.BatchNorm2d(width) if batch_norm else None


class Encoder(nn.Module):
    """The convolutions alone (section 3.1).

    Shapes: [B, C, H, W] normalised -> the deepest features [B, width, h, w], for any H and W.

    Attributes:
        encoder: the layers, from the image on.
    """

    encoder: nn.ModuleList

    def __init__(self, layers: Table, channels: int, *, batch_norm: bool = True) -> None:
        """Builds the network.

        Args:
            layers: (kernel, stride, width) from the image to the deepest features.
            channels: C.
            batch_norm: whether layers have BatchNorm; where not, they have biases.
        """
        super().__init__()
        self.encoder = _make_encoder(layers, channels, batch_norm)

    def forward(self, images: Tensor) -> Tensor:
        """Returns the features.

        Args:
            images: [B, C, H, W] normalised.

        Returns:
            [B, width, h, w]; a stride of s maps n to ceil(n / s).
        """
        return _encode(self.encoder, images)[0]


class AutoEncoder(nn.Module):
    """Reconstructs clean images from corrupted ones (sections 3.1 and 3.3).

    Shapes: [B, C, H, W] normalised -> [B, C, H, W] normalised, for any H and W.

    Attributes:
        encoder: the layers, from the image on.
        decoder: the mirror of each, in the same order.
    """

    encoder: nn.ModuleList
    decoder: nn.ModuleList

    def __init__(
        self,
        layers: Table,
        channels: int,
        skip: Skip = "symmetric",
        *,
        batch_norm: bool = True,
        skip_strength: float = 1.0,
    ) -> None:
        """Builds the network.

        Args:
            layers: (kernel, stride, width) from the image to the deepest features.
            channels: C.
            skip: `symmetric`, or `none` to keep only the one from input to output (footnote 1).
            batch_norm: whether layers have BatchNorm; where not, they have biases.
            skip_strength: what the skips inside are multiplied by.
        """
        super().__init__()
        self.encoder = _make_encoder(layers, channels, batch_norm)
        self.decoder = nn.ModuleList(_make_decoder(layers, channels, batch_norm))
        self.skip: Skip = skip
        self.skip_strength = skip_strength

    def forward(self, images: Tensor) -> Tensor:
        """Returns the reconstruction: the images, and what the network adds to them.

        Args:
            images: [B, C, H, W] normalised.

        Returns:
            [B, C, H, W] normalised.
        """
        x, sizes, raws = _encode(self.encoder, images)
        x = _decode(self.decoder, x, sizes, raws, self.skip, self.skip_strength)
        last: Any = self.decoder[0]
        return images + last.deconv(x, output_size=sizes[0])


class Segmenter(nn.Module):
    """The auto-encoder with a convolution to classes for its last deconvolution (section 5.4.2).

    Shapes: [B, C, H, W] normalised -> logits [B, num_classes, H, W], for any H and W.

    Attributes:
        encoder: the layers, from the image on; the first has stride 1.
        decoder: the mirror of each but the first, by its number, and `classes`.
    """

    encoder: nn.ModuleList
    decoder: nn.ModuleDict

    def __init__(
        self, layers: Table, channels: int, num_classes: int, skip: Skip = "symmetric"
    ) -> None:
        """Builds the network.

        Args:
            layers: (kernel, stride, width) from the image to the deepest features.
            channels: C.
            num_classes: the background included.
            skip: `symmetric`, or `none` for no skips at all.
        """
        super().__init__()
        self.encoder = _make_encoder(layers, channels, batch_norm=True)
        decoder = _make_decoder(layers, channels, batch_norm=True)
        self.decoder = nn.ModuleDict({str(i): decoder[i] for i in range(1, len(layers))})
        kernel, _, width = layers[0]
        self.decoder["classes"] = nn.Conv2d(width, num_classes, kernel, padding=kernel // 2)
        self.skip: Skip = skip

    def forward(self, images: Tensor) -> Tensor:
        """Returns the logits.

        Args:
            images: [B, C, H, W] normalised.

        Returns:
            [B, num_classes, H, W].
        """
        x, sizes, raws = _encode(self.encoder, images)
        layers = [None, *(layer for name, layer in self.decoder.items() if name != "classes")]
        return self.decoder["classes"](_decode(layers, x, sizes, raws, self.skip))


class Classifier(nn.Module):
    """The encoder and a head (supplement A).

    Shapes: [B, C, H, W] normalised -> logits [B, num_classes].

    It has no dropout, so it is the network of inference, and of training where dropout is 0.

    Attributes:
        encoder: the layers, from the image on.
        head: `classes`, and before it `fc0`, `fc1` ... of a `fully_connected` head.
    """

    encoder: nn.ModuleList
    head: nn.ModuleDict

    def __init__(
        self,
        layers: Table,
        channels: int,
        num_classes: int,
        *,
        head: Literal["pool_linear", "conv_pool", "fully_connected"],
        hidden: Sequence[int] = (),
        image_size: tuple[int, int] = (0, 0),
        batch_norm: bool = True,
    ) -> None:
        """Builds the network.

        Args:
            layers: (kernel, stride, width) from the image to the deepest features.
            channels: C.
            num_classes: length of the logits.
            head: see `symskip_jax.Spec`.
            hidden: widths of the hidden layers of a `fully_connected` head.
            image_size: (H, W) that a `fully_connected` head serves; the others serve any.
            batch_norm: whether layers have BatchNorm; where not, they have biases.
        """
        super().__init__()
        self.encoder = _make_encoder(layers, channels, batch_norm)
        self.kind = head
        self.head = nn.ModuleDict()
        fan_in = layers[-1][2]
        if head == "conv_pool":
            self.head["classes"] = nn.Conv2d(fan_in, num_classes, 1)
            return
        if head == "fully_connected":
            height, width = image_size
            for _, stride, _ in layers:
                height, width = -(-height // stride), -(-width // stride)
            fan_in *= height * width
            for i, units in enumerate(hidden):
                self.head[f"fc{i}"] = nn.Linear(fan_in, units)
                fan_in = units
        self.head["classes"] = nn.Linear(fan_in, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Returns the logits.

        Args:
            images: [B, C, H, W] normalised.

        Returns:
            [B, num_classes].

        Raises:
            RuntimeError: a `fully_connected` head is given features of another size.
        """
        x, _, _ = _encode(self.encoder, images)
        if self.kind == "conv_pool":
            return self.head["classes"](x).mean((2, 3))
        x = x.mean((2, 3)) if self.kind == "pool_linear" else x.flatten(1)
        for name, layer in self.head.items():
            x = layer(x) if name == "classes" else torch.relu(layer(x))
        return x


def to_state_dict(tree: Mapping[str, Any], model: nn.Module) -> dict[str, Tensor]:
    """Gives a Flax tree (parameters, gradients or statistics) the names and layouts of a model.

    Args:
        tree: nested dicts of arrays, of the whole network.
        model: one of those above. It only tells what head there is.

    Returns:
        Tensors of the arrays' dtypes on the CPU, by name; they share no memory with the arrays.

    Raises:
        TypeError: torch has not the dtype of an array, as NumPy's of bfloat16.
    """
    arrays = naming.to_torch(tree, getattr(model, "kind", None))
    return {name: torch.tensor(array) for name, array in arrays.items()}


def load_variables(
    model: nn.Module, params: Mapping[str, Any], batch_stats: Mapping[str, Any]
) -> None:
    """Copies Flax variables into a model, every tensor of it and nothing else.

    Args:
        model: one of those above; it is changed, and keeps its dtypes and its device.
        params: nested dicts of arrays, as of `symskip_jax.TrainState`.
        batch_stats: likewise; empty where there is no BatchNorm.

    Raises:
        RuntimeError: they are of another network.
    """
    state = to_state_dict(params, model) | to_state_dict(batch_stats, model)
    counters = {name: t for name, t in model.state_dict().items() if "num_batches" in name}
    model.load_state_dict(state | counters, strict=True)


def _make_encoder(layers: Table, channels: int, batch_norm: bool) -> nn.ModuleList:
    widths = [channels, *(width for _, _, width in layers)]
    return nn.ModuleList(
        ConvLayer(fan_in, *layer, batch_norm) for fan_in, layer in zip(widths, layers, strict=False)
    )


def _make_decoder(layers: Table, channels: int, batch_norm: bool) -> list[DeconvLayer]:
    widths = [channels, *(width for _, _, width in layers)]
    return [
        DeconvLayer(width, kernel, stride, widths[i], batch_norm and i > 0)
        for i, (kernel, stride, width) in enumerate(layers)
    ]


def _activate(layer: Any, raw: Tensor) -> Tensor:
    """Returns what the next layer is given."""
    return torch.relu(raw if layer.bn is None else layer.bn(raw))


def _encode(encoder: nn.ModuleList, x: Tensor) -> tuple[Tensor, list[torch.Size], list[Tensor]]:
    """Returns the features, and of each layer the (height, width) of its input and its output."""
    sizes, raws = [], []
    layer: Any
    for layer in encoder:
        sizes.append(x.shape[-2:])
        raws.append(layer.conv(x))
        x = _activate(layer, raws[-1])
    return x, sizes, raws


def _decode(
    decoder: Any,
    x: Tensor,
    sizes: Sequence[torch.Size],
    raws: Sequence[Tensor],
    skip: Skip,
    skip_strength: float = 1.0,
) -> Tensor:
    """Returns what the last but one deconvolution makes of the features."""
    depth = len(sizes)
    # Counted from 1, convolutions 2, 4, 6 ... reach over to the decoder. The deconvolution that
    # makes feature maps of the size and width of convolution k is the mirror of k + 1.
    joined = {k + 1: k for k in range(2, depth, 2)} if skip == "symmetric" else {}
    for number in range(depth, 1, -1):
        layer: Any = decoder[number - 1]
        x = layer.deconv(x, output_size=sizes[number - 1])
        if number in joined:
            carried = raws[joined[number] - 1]
            x = x + (carried if skip_strength == 1 else skip_strength * carried)
        x = _activate(layer, x)
    return x
