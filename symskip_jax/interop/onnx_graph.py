"""Networks as ONNX, written from their tensors; needs onnx (extra `onnx`), not torch.

Every operator is one of ONNX's own, and sizes are read off the tensors as they come, so that one
file serves any batch and any image, odd or even. torch.onnx would give the same graph, but needs
torch, takes tens of seconds, and leaves paths of this machine in the file.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from symskip_jax import __version__
from symskip_jax.interop.facts import KEY, NetworkFacts

# Old enough for what people have installed; Shape with `start` needs 15.
OPSET = 17
IR_VERSION = 8
EPSILON = 1e-5


def onnx_bytes(tensors: Mapping[str, np.ndarray], network: NetworkFacts, document: str) -> bytes:
    """Returns an ONNX model of images uint8 [batch, height, width, channels].

    Its output is called `output` and is channels last like the input: see
    `symskip_jax.interop.parts.on_pixels`.

    Args:
        tensors: by torch's name.
        network: what they are.
        document: kept in the metadata.
    """
    graph = _Graph(tensors)
    pixels = graph.add("Cast", "images", to=TensorProto.FLOAT)
    pixels = graph.add("Transpose", pixels, perm=[0, 3, 1, 2])
    mean, std = (
        graph.constant(np.array(values, np.float32)[None, :, None, None])
        for values in (network.mean, network.std)
    )
    images = graph.add("Div", graph.add("Sub", pixels, mean), std)
    x, inputs, raws = _encode(graph, images, network)
    if network.skip is not None:
        x = _decode(graph, x, inputs, raws, network)
    if network.part == "autoencoder":
        kernel, stride, _ = network.layers[0]
        residual = _deconv(graph, "decoder.0.deconv", x, images, kernel, stride)
        rebuilt = graph.add("Mul", graph.add("Add", images, residual), std)
        low, high = graph.constant(np.float32(0)), graph.constant(np.float32(255))
        x = graph.add("Clip", graph.add("Add", rebuilt, mean), low, high)
    elif network.part == "segmenter":
        x = _conv(graph, "decoder.classes", x, network.layers[0][0], 1)
    elif network.part == "classifier":
        x = _head(graph, x, network)
    if network.part != "classifier":
        x = graph.add("Transpose", x, perm=[0, 2, 3, 1])
    graph.add("Identity", x, output="output")
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            f"{network.spec}_{network.part}",
            [helper.make_tensor_value_info("images", TensorProto.UINT8, _input_shape(network))],
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, _output_shape(network))],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="symskip_jax",
        producer_version=__version__,
    )
    helper.set_model_props(model, {KEY: document})
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


class _Graph:
    """Nodes in order, and the tensors that they use."""

    def __init__(self, tensors: Mapping[str, np.ndarray]) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._tensors = tensors
        self._used: set[str] = set()

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Adds a node and returns the name of its output."""
        output = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, array: np.ndarray | np.generic) -> str:
        """Adds an array and returns its name."""
        name = f"constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def weight(self, name: str) -> str:
        """Returns the name of one of the network's tensors, which it adds."""
        if name not in self._used:
            self._used.add(name)
            self.initializers.append(numpy_helper.from_array(self._tensors[name], name))
        return name

    def weights(self, module: str) -> tuple[str, ...]:
        """Returns the weight and, where there is one, the bias of a module."""
        names = [f"{module}.weight", f"{module}.bias"]
        return tuple(self.weight(name) for name in names if name in self._tensors)


def _encode(graph: _Graph, x: str, network: NetworkFacts) -> tuple[str, list[str], list[str]]:
    """Returns the features, and of each layer its input and its raw output."""
    inputs, raws = [], []
    for i, (kernel, stride, _) in enumerate(network.layers):
        inputs.append(x)
        raws.append(_conv(graph, f"encoder.{i}.conv", x, kernel, stride))
        x = _activate(graph, f"encoder.{i}.bn", raws[-1], network.batch_norm)
    return x, inputs, raws


def _decode(
    graph: _Graph, x: str, inputs: list[str], raws: list[str], network: NetworkFacts
) -> str:
    """Returns what the last but one deconvolution makes of the features."""
    for i in reversed(range(1, len(network.layers))):
        kernel, stride, _ = network.layers[i]
        x = _deconv(graph, f"decoder.{i}.deconv", x, inputs[i], kernel, stride)
        if network.skip == "symmetric" and i % 2 == 0:
            carried = raws[i - 1]
            if network.skip_strength != 1:
                strength = graph.constant(np.float32(network.skip_strength))
                carried = graph.add("Mul", carried, strength)
            x = graph.add("Add", x, carried)
        x = _activate(graph, f"decoder.{i}.bn", x, network.batch_norm)
    return x


def _conv(graph: _Graph, module: str, x: str, kernel: int, stride: int) -> str:
    return graph.add(
        "Conv",
        x,
        *graph.weights(module),
        kernel_shape=[kernel, kernel],
        pads=[kernel // 2] * 4,
        strides=[stride, stride],
    )


def _deconv(graph: _Graph, module: str, x: str, like: str, kernel: int, stride: int) -> str:
    """Returns an output of the height and width of `like`."""
    y = graph.add(
        "ConvTranspose",
        x,
        *graph.weights(module),
        kernel_shape=[kernel, kernel],
        pads=[kernel // 2] * 4,
        strides=[stride, stride],
        output_padding=[stride - 1, stride - 1],
    )
    if stride == 1:
        return y
    # So far it is of the largest size that the convolution maps to this one.
    start, axes = (graph.constant(np.array(values)) for values in ([0, 0], [2, 3]))
    return graph.add("Slice", y, start, graph.add("Shape", like, start=2, end=4), axes)


def _activate(graph: _Graph, module: str, x: str, batch_norm: bool) -> str:
    if batch_norm:
        names = ("weight", "bias", "running_mean", "running_var")
        weights = [graph.weight(f"{module}.{name}") for name in names]
        x = graph.add("BatchNormalization", x, *weights, epsilon=EPSILON)
    return graph.add("Relu", x)


def _head(graph: _Graph, x: str, network: NetworkFacts) -> str:
    if network.head == "conv_pool":
        x = _conv(graph, "head.classes", x, 1, 1)
        return graph.add("Flatten", graph.add("GlobalAveragePool", x))
    if network.head == "pool_linear":
        x = graph.add("GlobalAveragePool", x)
    x = graph.add("Flatten", x)
    for i in range(len(network.hidden)):
        x = graph.add("Relu", graph.add("Gemm", x, *graph.weights(f"head.fc{i}"), transB=1))
    return graph.add("Gemm", x, *graph.weights("head.classes"), transB=1)


def _input_shape(network: NetworkFacts) -> list[int | str]:
    size = ("height", "width") if network.any_size else network.image_size
    return ["batch", *size, network.channels]


def _output_shape(network: NetworkFacts) -> list[int | str]:
    if network.class_names is None:
        channels = network.channels if network.part == "autoencoder" else network.layers[-1][2]
    else:
        channels = len(network.class_names)
    if network.part == "classifier":
        return ["batch", channels]
    if network.part == "encoder":
        return ["batch", "feature_height", "feature_width", channels]
    return [*_input_shape(network)[:3], channels]
