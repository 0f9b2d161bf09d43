"""Exported files as torch modules that take pixels; needs torch (extra `interop`), not JAX.

Public: the names in `__all__`, which stay as they are until the next major version.
"""

from os import PathLike
from pathlib import Path

import torch
from torch import Tensor, nn

from symskip_jax.interop.facts import NetworkFacts
from symskip_jax.interop.tensor_file import read_tensor_file
from symskip_jax.interop.torch_modules import AutoEncoder, Classifier, Encoder, Segmenter

__all__ = ["NetworkFacts", "OnPixels", "load"]


class OnPixels(nn.Module):
    """A network with its normalisation (section 4).

    Shapes: pixels [B, C, H, W], 0 to 255, of any dtype -> of an encoder the deepest features
    [B, width, h, w]; of an auto-encoder a reconstruction [B, C, H, W] on the 0-255 scale, clipped
    to it; of a classifier logits [B, classes]; of a segmenter logits [B, classes, H, W].

    Attributes:
        network: the plain module, of normalised images, one of `symskip_jax.interop.torch_modules`.
        facts: what the file says of it.
        mean: [C, 1, 1] of the pixels, on the 0-255 scale.
        std: [C, 1, 1] standard deviation of the pixels, on the 0-255 scale.
    """

    network: nn.Module
    facts: NetworkFacts
    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, facts: NetworkFacts) -> None:
        """Joins the two.

        Args:
            network: of normalised images.
            facts: its `part`, `mean` and `std` are used.
        """
        super().__init__()
        self.network = network
        self.facts = facts
        self.register_buffer("mean", torch.tensor(facts.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(facts.std)[:, None, None])

    def normalize(self, pixels: Tensor) -> Tensor:
        """Maps pixels [B, C, H, W] to zero mean and unit deviation, in the dtype of `mean`."""
        return (pixels.to(self.mean.dtype) - self.mean) / self.std

    def denormalize(self, images: Tensor) -> Tensor:
        """Maps normalised images [B, C, H, W] back to the 0-255 scale, unclipped."""
        return images * self.std + self.mean

    def forward(self, pixels: Tensor) -> Tensor:
        """Returns what the network makes of pixels.

        Args:
            pixels: [B, C, H, W], 0 to 255, of any dtype.

        Returns:
            As the class says, of the dtype of `mean`.

        Raises:
            RuntimeError: the network does not take images of their shape.
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
        The module in eval mode, float32, on the CPU.

    Raises:
        UserError: it is no such file, or is damaged.
        RuntimeError: its tensors are not those of the network that its metadata tell of.
    """
    file = read_tensor_file(Path(path))
    network = make_network(file.network)
    tensors = {name: torch.from_numpy(array) for name, array in file.tensors.items()}
    network.load_state_dict(tensors, strict=True)
    return OnPixels(network, file.network).eval()


def make_network(facts: NetworkFacts) -> nn.Module:
    """Returns the module that facts tell of, untrained."""
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
