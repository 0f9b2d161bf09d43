"""The networks in plain torch modules, written from the paper: an oracle for the Flax ones.

State dicts have the names and layouts of the export: `encoder.{i}.conv.weight` (OIHW),
`encoder.{i}.bn.*`, `decoder.{i}.deconv.weight` (IOHW, as ConvTranspose2d), `decoder.{i}.bn.*`,
`decoder.0.deconv.bias` and `head.*`, where decoder i is the mirror of encoder i.
"""

import numpy as np
import pytest

from symskip_jax.models import Spec

torch = pytest.importorskip("torch", reason="the oracle is torch: install the extra `interop`")
nn = torch.nn


class ConvLayer(nn.Module):
    def __init__(self, fan_in, kernel, stride, width):
        super().__init__()
        self.conv = nn.Conv2d(fan_in, width, kernel, stride, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(width)


class DeconvLayer(nn.Module):
    def __init__(self, fan_in, kernel, stride, width, last):
        super().__init__()
        self.deconv = nn.ConvTranspose2d(
            fan_in, width, kernel, stride, padding=kernel // 2, bias=last
        )
        if not last:
            self.bn = nn.BatchNorm2d(width)


def make_encoder(spec: Spec, channels):
    widths = [channels, *(layer.width for layer in spec.layers)]
    return nn.ModuleList(
        ConvLayer(fan_in, *layer) for fan_in, layer in zip(widths, spec.layers, strict=False)
    )


def encode(encoder, x):
    """Returns the features, and of each layer the size of its input and its raw output."""
    sizes, raws = [], []
    for layer in encoder:
        sizes.append(x.shape[-2:])
        raws.append(layer.conv(x))
        x = torch.relu(layer.bn(raws[-1]))
    return x, sizes, raws


class TorchAutoEncoder(nn.Module):
    def __init__(self, spec: Spec, channels, skip):
        super().__init__()
        self.encoder = make_encoder(spec, channels)
        widths = [channels, *(layer.width for layer in spec.layers)]
        self.decoder = nn.ModuleList(
            DeconvLayer(layer.width, layer.kernel, layer.stride, widths[i], last=i == 0)
            for i, layer in enumerate(spec.layers)
        )
        self.skip = skip

    def forward(self, images):
        depth = len(self.encoder)
        x, sizes, raws = encode(self.encoder, images)
        # Counted from 1, convolutions 2, 4, 6 ... reach over to the decoder. The deconvolution that
        # makes feature maps of the size and width of convolution k is the mirror of k + 1.
        joined = {k + 1: k for k in range(2, depth, 2)} if self.skip == "symmetric" else {}
        for number in range(depth, 1, -1):
            layer = self.decoder[number - 1]
            x = layer.deconv(x, output_size=sizes[number - 1])
            if number in joined:
                x = x + raws[joined[number] - 1]
            x = torch.relu(layer.bn(x))
        return images + self.decoder[0].deconv(x, output_size=sizes[0])


class TorchClassifier(nn.Module):
    def __init__(self, spec: Spec, channels, num_classes, image_size):
        super().__init__()
        self.encoder = make_encoder(spec, channels)
        self.kind = spec.head
        self.head = nn.ModuleDict()
        fan_in = spec.layers[-1].width
        if spec.head == "conv_pool":
            self.head["classes"] = nn.Conv2d(fan_in, num_classes, 1)
            return
        if spec.head == "fully_connected":
            with torch.no_grad():
                features, _, _ = encode(self.encoder, torch.zeros(2, channels, *image_size))
            fan_in = features[0].numel()
            for i, width in enumerate(spec.hidden):
                self.head[f"fc{i}"] = nn.Linear(fan_in, width)
                fan_in = width
        self.head["classes"] = nn.Linear(fan_in, num_classes)

    def forward(self, images):
        x, _, _ = encode(self.encoder, images)
        if self.kind == "conv_pool":
            return self.head["classes"](x).mean((2, 3))
        x = x.mean((2, 3)) if self.kind == "pool_linear" else x.flatten(1)
        for name, layer in self.head.items():
            x = layer(x) if name == "classes" else torch.relu(layer(x))
        return x


def leaves(tree, path=()):
    """Yields (path, array) of a nest of dicts."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), np.asarray(value)


TORCH_NAMES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}


def to_state_dict(tree, model):
    """Gives a Flax tree (variables, gradients, statistics) the names and layouts of a torch model.

    The model only tells what a kernel is for, as its shape does not.
    """
    converted = {}
    for path, value in leaves(tree):
        *modules, leaf = path
        module = model.get_submodule(".".join(modules))
        if leaf == "kernel" and isinstance(module, nn.Linear):
            value = value.T
            if modules[-1] == "fc0":  # Flax flattens rows, columns, channels; torch channels first
                channels = model.encoder[-1].bn.num_features
                positions = value.shape[1] // channels
                value = value.reshape(-1, positions, channels).swapaxes(1, 2)
                value = value.reshape(len(value), -1)
        elif leaf == "kernel" and value.ndim == 2:  # a product at each position
            value = value.T[:, :, None, None]
        elif leaf == "kernel" and isinstance(module, nn.ConvTranspose2d):
            value = value.transpose(2, 3, 0, 1)
        elif leaf == "kernel":
            value = value.transpose(3, 2, 0, 1)
        name = ".".join([*modules, TORCH_NAMES.get(leaf, leaf)])
        converted[name] = torch.tensor(np.ascontiguousarray(value))
    return converted


def load_variables(model, params, batch_stats):
    """Copies Flax variables into a torch model, every tensor of it and nothing else."""
    state = to_state_dict(params, model) | to_state_dict(batch_stats, model)
    counters = {name: t for name, t in model.state_dict().items() if "num_batches" in name}
    model.load_state_dict(state | counters, strict=True)


def count_values(model):
    """Counts, from here on, the values a channel that each BatchNorm takes its statistics over."""
    counts = {}

    def record(name):
        def hook(module, inputs):
            counts[name] = inputs[0].numel() // inputs[0].shape[1]

        return hook

    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(record(name))
    return counts
