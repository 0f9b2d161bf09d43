"""The encoders of the paper as tables (supplement A, table 1), and RED-Net's.

Everything that depends on the shape of a network (encoder, mirrored decoder, heads, checks, export)
reads these tables.
"""

import dataclasses
import math
from typing import Literal, NamedTuple

from symskip_jax.errors import UserError

HeadKind = Literal["pool_linear", "conv_pool", "fully_connected"]


class Layer(NamedTuple):
    """One row of a table of networks (supplement A, table 1): a convolution.

    Attributes:
        kernel: height and width of its square kernel, in pixels.
        stride: of both axes, in pixels.
        width: number of filters.
    """

    kernel: int
    stride: int
    width: int


@dataclasses.dataclass(frozen=True)
class Spec:
    """An encoder and the head that the paper puts on it (supplement A, table 1).

    Attributes:
        name: how the configuration calls the network.
        layers: convolutions from the image to the deepest features.
        head: `pool_linear` (global average pooling, fc), `conv_pool` (1x1 convolution to the
            classes, global average pooling) or `fully_connected` (fc layers of `hidden`, then fc).
        hidden: widths of the hidden fully connected layers of the head.
        batch_norm: whether BatchNorm stands between a convolution and its ReLU; where it does not,
            the convolution has a bias.
    """

    name: str
    layers: tuple[Layer, ...]
    head: HeadKind
    hidden: tuple[int, ...] = ()
    batch_norm: bool = True

    def scaled(self, multiplier: float) -> "Spec":
        """Returns the same network with every width multiplied and rounded.

        Args:
            multiplier: above 0.

        Returns:
            A new table; this one is unchanged.

        Raises:
            UserError: a layer would be left without filters, or the multiplier is not finite.
        """
        narrowest = min([*(layer.width for layer in self.layers), *self.hidden])
        if not 0.5 < narrowest * multiplier < math.inf:
            raise UserError(
                f"model.width_multiplier={multiplier} leaves a layer of {self.name} without "
                f"filters; choose a finite number, about {0.51 / narrowest:.3g} or more"
            )
        layers = tuple(
            layer._replace(width=round(layer.width * multiplier)) for layer in self.layers
        )
        hidden = tuple(round(width * multiplier) for width in self.hidden)
        return dataclasses.replace(self, layers=layers, hidden=hidden)

    def sizes(self, height: int, width: int) -> tuple[tuple[int, int], ...]:
        """Returns the (height, width) at the input of each layer, then that of the features.

        A convolution pads (kernel - 1) / 2 zeros on each side, so a stride of s maps n to
        ceil(n / s).
        """
        sizes = [(height, width)]
        for layer in self.layers:
            # Written as XLA does, which cannot tell that -(-n // s) is the same of a symbolic n.
            height = (height - 1) // layer.stride + 1
            width = (width - 1) // layer.stride + 1
            sizes.append((height, width))
        return tuple(sizes)

    @property
    def stride(self) -> int:
        """Pixels of the image between two neighbours in the deepest features."""
        return math.prod(layer.stride for layer in self.layers)

    @property
    def radius(self) -> int:
        """How many pixels away, at most, the auto-encoder looks for one pixel of its output.

        A layer reaches (kernel - 1) / 2 of its own pixels to each side, and its mirror as far.
        """
        reach, pixel = 0, 1
        for layer in self.layers:
            reach += layer.kernel // 2 * pixel
            pixel *= layer.stride
        return 2 * reach


def network_1(blocks: tuple[int, int, int, int] = (5, 5, 5, 0), n: int = 128) -> Spec:
    """CIFAR (m = 5, 5, 5, 0; n = 128) and STL-10 (m = 2, 2, 3, 3; n = 64).

    Block k has blocks[k] convolutions of n * 2**k filters, the last of them with stride 2
    (supplement A).

    Args:
        blocks: m1 to m4, layers in each block.
        n: filters in the first block.

    Returns:
        The table, with a head of global average pooling and one linear layer.

    Raises:
        UserError: there is no layer, or no filter.
    """
    if any(m < 0 for m in blocks) or sum(blocks) == 0 or n < 1:
        raise UserError(
            f"model.blocks={tuple(blocks)} and model.n={n} make no network; blocks are counts of "
            "layers (at least one above 0) and n a number of filters (at least 1)"
        )
    layers: list[Layer] = []
    for k, m in enumerate(blocks):
        layers += [Layer(3, 1, n * 2**k)] * (m - 1) + [Layer(3, 2, n * 2**k)] * (m > 0)
    return Spec("network_1", tuple(layers), "pool_linear")


def network_2() -> Spec:
    """CIFAR-10 with 4,000 labels: All-CNN-C without pooling (supplement A).

    Returns:
        The table, with a head of one 1x1 convolution and global average pooling.
    """
    layers = (
        *(Layer(3, 1, 96), Layer(3, 1, 96), Layer(3, 2, 96)),
        *(Layer(3, 1, 192), Layer(3, 1, 192), Layer(3, 2, 192)),
        *(Layer(3, 1, 192), Layer(1, 1, 192)),
    )
    return Spec("network_2", layers, "conv_pool")


def network_3() -> Spec:
    """PASCAL VOC and ImageNet: VGG-16 without pooling (supplement A).

    Returns:
        The table, with a head of two hidden fully connected layers, which serves one size of image.
    """
    layers = (
        *(Layer(3, 1, 64), Layer(3, 2, 64)),
        *(Layer(3, 1, 128), Layer(3, 2, 128)),
        *(Layer(3, 1, 256), Layer(3, 1, 256), Layer(3, 2, 256)),
        *(Layer(3, 1, 512), Layer(3, 1, 512), Layer(3, 2, 512)),
        *(Layer(3, 1, 512), Layer(3, 1, 512), Layer(3, 2, 512)),
    )
    return Spec("network_3", layers, "fully_connected", hidden=(4096, 4096))


def wide_resnet(depth: int = 28, widen: int = 10) -> Spec:
    """Wide ResNet (Zagoruyko and Komodakis) for images of about 32 pixels (supplement C).

    The table has the 3x3 convolutions: the first alone, then those of the residual blocks two by
    two. Three groups of (depth - 4) / 6 blocks have 16, 32 and 64 filters times `widen`; the second
    and the third begin with stride 2.
    """
    if depth < 10 or depth % 6 != 4 or widen < 1:
        raise UserError(
            f"model.depth={depth} and model.widen={widen} make no wide_resnet; depth is 10, 16, "
            "22 or more by sixes, widen at least 1"
        )
    layers = [Layer(3, 1, 16)]
    for group in range(3):
        layer = Layer(3, 1, 16 * widen * 2**group)
        first = layer._replace(stride=1 if group == 0 else 2)
        layers += [first, layer] + [layer] * (2 * ((depth - 4) // 6 - 1))
    return Spec("wide_resnet", tuple(layers), "pool_linear")


RED_NET_DEPTHS = (10, 20, 30)


def red_net(depth: int = 30) -> Spec:
    """RED-Net (Mao, Shen and Yang, NIPS 2016): restores images, at their full size throughout.

    Args:
        depth: convolutions and deconvolutions together: 10, 20 or 30.

    Returns:
        The table, without BatchNorm.

    Raises:
        UserError: it has another depth.
    """
    if depth not in RED_NET_DEPTHS:
        known = ", ".join(map(str, RED_NET_DEPTHS))
        raise UserError(f"model.depth={depth} makes no red_net; choose one of {known}")
    return Spec("red_net", (Layer(3, 1, 64),) * (depth // 2), "pool_linear", batch_norm=False)
