"""The networks in plain torch modules, written from the paper, and how they take our parameters.

State dicts have the names and layouts of the export: `encoder.{i}.conv.weight` (OIHW),
`encoder.{i}.bn.*`, `decoder.{i}.deconv.weight` (IOHW, as ConvTranspose2d), `decoder.{i}.bn.*`,
`decoder.0.deconv.bias` and `head.*`, where decoder i is the mirror of encoder i. It needs torch
(extra `interop`) and NumPy, not JAX: a network is given by its table of (kernel, stride, width).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

# (kernel, stride, width) from the image to the deepest features.
Table = Sequence[tuple[int, int, int]]


class ConvLayer(nn.Module):
    """A convolution without a bias, and the BatchNorm that its output goes through."""

    def __init__(self, fan_in: int, kernel: int, stride: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(fan_in, width, kernel, stride, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(width)


class DeconvLayer(nn.Module):
    """A deconvolution and its BatchNorm; the last one has a bias instead."""

    def __init__(self, fan_in: int, kernel: int, stride: int, width: int, *, last: bool) -> None:
        super().__init__()
        self.deconv = nn.ConvTranspose2d(
            fan_in, width, kernel, stride, padding=kernel // 2, bias=last
        )
        if not last:
            self.bn = nn.BatchNorm2d(width)


class AutoEncoder(nn.Module):
    """Reconstructs clean images from corrupted ones: [B, C, H, W] normalised -> the same shape.

    Any height and width will do.
    """

    def __init__(
        self, layers: Table, channels: int, skip: Literal["symmetric", "none"] = "symmetric"
    ) -> None:
        """Builds the network.

        Args:
            layers: the encoder's table.
            channels: C.
            skip: `symmetric`, or `none` to keep only the one from input to output.
        """
        super().__init__()
        self.encoder = _make_encoder(layers, channels)
        widths = [channels, *(width for _, _, width in layers)]
        self.decoder = nn.ModuleList(
            DeconvLayer(width, kernel, stride, widths[i], last=i == 0)
            for i, (kernel, stride, width) in enumerate(layers)
        )
        self.skip = skip

    def forward(self, images: Tensor) -> Tensor:
        """Returns the reconstruction."""
        depth = len(self.encoder)
        x, sizes, raws = _encode(self.encoder, images)
        # Counted from 1, convolutions 2, 4, 6 ... reach over to the decoder. The deconvolution that
        # makes feature maps of the size and width of convolution k is the mirror of k + 1.
        joined = {k + 1: k for k in range(2, depth, 2)} if self.skip == "symmetric" else {}
        for number in range(depth, 1, -1):
            layer: Any = self.decoder[number - 1]
            x = layer.deconv(x, output_size=sizes[number - 1])
            if number in joined:
                x = x + raws[joined[number] - 1]
            x = torch.relu(layer.bn(x))
        last: Any = self.decoder[0]
        return images + last.deconv(x, output_size=sizes[0])


class Classifier(nn.Module):
    """The encoder and a head: [B, C, H, W] normalised -> logits [B, classes].

    It has no dropout, so it is the network of inference, and of training where dropout is 0.
    """

    def __init__(
        self,
        layers: Table,
        channels: int,
        num_classes: int,
        *,
        head: Literal["pool_linear", "conv_pool", "fully_connected"],
        hidden: Sequence[int] = (),
        image_size: tuple[int, int] = (0, 0),
    ) -> None:
        """Builds the network.

        Args:
            layers: the encoder's table.
            channels: C.
            num_classes: length of the logits.
            head: see `symskip_jax.models.specs.Spec`.
            hidden: widths of the hidden layers of a `fully_connected` head.
            image_size: (H, W) that a `fully_connected` head serves; others serve any.
        """
        super().__init__()
        self.encoder = _make_encoder(layers, channels)
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
        """Returns the logits."""
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
        tree: nested dicts of arrays.
        model: an AutoEncoder or a Classifier. It only tells what a kernel is for, as its shape does
            not.

    Returns:
        Tensors of the arrays' dtypes on the CPU, by name.
    """
    converted = {}
    for path, value in _leaves(tree):
        *modules, leaf = path
        module = model.get_submodule(".".join(modules))
        if leaf == "kernel" and isinstance(module, nn.Linear):
            value = value.T
            if modules[-1] == "fc0":  # Flax flattens rows, columns, channels; torch channels first
                channels = _width(model)
                positions = value.shape[1] // channels
                value = value.reshape(-1, positions, channels).swapaxes(1, 2)
                value = value.reshape(len(value), -1)
        elif leaf == "kernel" and value.ndim == 2:  # a product at each position
            value = value.T[:, :, None, None]
        elif leaf == "kernel" and isinstance(module, nn.ConvTranspose2d):
            value = value.transpose(2, 3, 0, 1)
        elif leaf == "kernel":
            value = value.transpose(3, 2, 0, 1)
        name = ".".join([*modules, _TORCH_NAMES.get(leaf, leaf)])
        converted[name] = torch.tensor(np.ascontiguousarray(value))
    return converted


def load_variables(
    model: nn.Module, params: Mapping[str, Any], batch_stats: Mapping[str, Any]
) -> None:
    """Copies Flax variables into a model, every tensor of it and nothing else.

    Raises:
        RuntimeError: they are of another network.
    """
    state = to_state_dict(params, model) | to_state_dict(batch_stats, model)
    counters = {name: t for name, t in model.state_dict().items() if "num_batches" in name}
    model.load_state_dict(state | counters, strict=True)


_TORCH_NAMES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}


def _make_encoder(layers: Table, channels: int) -> nn.ModuleList:
    widths = [channels, *(width for _, _, width in layers)]
    return nn.ModuleList(
        ConvLayer(fan_in, *layer) for fan_in, layer in zip(widths, layers, strict=False)
    )


def _encode(encoder: nn.ModuleList, x: Tensor) -> tuple[Tensor, list[torch.Size], list[Tensor]]:
    """Returns the features, and of each layer the (height, width) of its input and its output."""
    sizes, raws = [], []
    layer: Any
    for layer in encoder:
        sizes.append(x.shape[-2:])
        raws.append(layer.conv(x))
        x = torch.relu(layer.bn(raws[-1]))
    return x, sizes, raws


def _width(model: Any) -> int:
    return model.encoder[-1].bn.num_features


def _leaves(
    tree: Mapping[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key), np.asarray(value)
