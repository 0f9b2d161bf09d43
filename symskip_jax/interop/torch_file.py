"""Exported files as torch modules that take pixels; needs torch (extra `interop`), not JAX."""

from os import PathLike
from pathlib import Path

import torch
from torch import Tensor, nn

from symskip_jax.interop.facts import NetworkFacts
from symskip_jax.interop.tensor_file import read_tensor_file
from symskip_jax.interop.torch_modules import AutoEncoder, Classifier, Encoder, Segmenter


class OnPixels(nn.Module):
    """A network with its normalisation: pixels [B, C, H, W], 0 to 255, of any dtype.

    An encoder gives its deepest features [B, width, h, w], a classifier logits [B, classes], a
    segmenter logits [B, classes, H, W]; an auto-encoder gives a reconstruction [B, C, H, W] on the
    0-255 scale, clipped to it. All are float32, unless `.to` or `.double()` made it another.

    Attributes:
        network: the plain module, of normalised images.
        facts: what the file says of it.
        mean: [C, 1, 1] of the pixels.
        std: [C, 1, 1] of the pixels.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, facts: NetworkFacts) -> None:
        """Joins the two.

        Args:
            network: of normalised images.
            facts: of the file, its mean and deviation among them.
        """
        super().__init__()
        self.network = network
        self.facts = facts
        self.register_buffer("mean", torch.tensor(facts.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(facts.std)[:, None, None])

    def normalize(self, pixels: Tensor) -> Tensor:
        """Maps pixels to zero mean and unit deviation, in the dtype of the network.

        Args:
            pixels: [B, C, H, W], 0 to 255, of any dtype.

        Returns:
            [B, C, H, W].
        """
        return (pixels.to(self.mean.dtype) - self.mean) / self.std

    def denormalize(self, images: Tensor) -> Tensor:
        """Maps normalised images back to the 0-255 scale, unclipped.

        Args:
            images: [B, C, H, W].

        Returns:
            [B, C, H, W].
        """
        return images * self.std + self.mean

    def forward(self, pixels: Tensor) -> Tensor:
        """Returns what the network makes of pixels, as the class says.

        Args:
            pixels: [B, C, H, W], 0 to 255, of any dtype.

        Raises:
            RuntimeError: they have other channels, or another size where the network has but one.
        """
        outputs = self.network(self.normalize(pixels))
        if self.facts.part == "autoencoder":
            return self.denormalize(outputs).clamp(0, 255)
        return outputs


def load(path: str | PathLike[str]) -> OnPixels:
    """Returns the network of a file that `symskip export --format safetensors` wrote.

    Args:
        path: of the file.

    Returns:
        The module in eval mode, on the CPU.

    Raises:
        UserError: it is no such file.
        RuntimeError: its tensors are not those of the network that its metadata tell of.
    """
    file = read_tensor_file(Path(path))
    network = make_network(file.network)
    tensors = {name: torch.from_numpy(array) for name, array in file.tensors.items()}
    network.load_state_dict(tensors, strict=True)
    return OnPixels(network, file.network).eval()


def make_network(facts: NetworkFacts) -> nn.Module:
    """Returns the module that facts tell of, untrained.

    Args:
        facts: of an exported file, whose layers are plain: no `wide_resnet`.
    """
    layers, channels, batch_norm = facts.layers, facts.channels, facts.batch_norm
    if facts.part == "encoder":
        return Encoder(layers, channels, batch_norm=batch_norm)
    skip = "none" if facts.skip == "none" else "symmetric"
    if facts.part == "autoencoder":
        strength = facts.skip_strength
        return AutoEncoder(layers, channels, skip, batch_norm=batch_norm, skip_strength=strength)
    num_classes = len(facts.class_names or ())
    if facts.part == "segmenter":
        return Segmenter(layers, channels, num_classes, skip)
    return Classifier(
        layers,
        channels,
        num_classes,
        head=facts.head,  # pyright: ignore[reportArgumentType]  (checked when it was read)
        hidden=facts.hidden,
        image_size=facts.image_size,
        batch_norm=batch_norm,
    )
