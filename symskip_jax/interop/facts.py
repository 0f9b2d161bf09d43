"""What one must know of an exported network beside its tensors, and how a file tells it.

Files carry it as JSON, so reading one runs nothing of it. It needs neither JAX nor torch.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

from symskip_jax import __version__
from symskip_jax.errors import UserError

# In the metadata of safetensors and ONNX files.
KEY = "symskip_jax"
PARTS = ("encoder", "autoencoder", "classifier", "segmenter")
HEADS = ("pool_linear", "conv_pool", "fully_connected")
SKIPS = ("symmetric", "none")
_LAYOUT_VERSION = 1


@dataclasses.dataclass(frozen=True)
class NetworkFacts:
    """A network in plain numbers and names, as an exported file tells of it.

    Attributes:
        part: `encoder`, `autoencoder`, `classifier` or `segmenter`.
        spec: name of the table, as `network_1`.
        layers: (kernel, stride, width) from the image to the deepest features.
        batch_norm: whether layers have BatchNorm; where not, they have biases.
        channels: of the images.
        image_size: (height, width) that it was trained on, in pixels.
        any_size: whether it takes images of other sizes.
        mean: of each channel, on the 0-255 scale.
        std: standard deviation of each channel, on the 0-255 scale.
        skip: `symmetric` or `none`; of a network without a decoder None.
        skip_strength: what the inner skips are multiplied by, 0 to 1.
        head: `pool_linear`, `conv_pool` or `fully_connected`; of all but classifiers None.
        hidden: widths of the hidden layers of a `fully_connected` head.
        class_names: in the order of the logits; without logits None.
    """

    part: str
    spec: str
    layers: tuple[tuple[int, int, int], ...]
    batch_norm: bool
    channels: int
    image_size: tuple[int, int]
    any_size: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    skip: str | None = None
    skip_strength: float = 1.0
    head: str | None = None
    hidden: tuple[int, ...] = ()
    class_names: tuple[str, ...] | None = None


def to_json(network: NetworkFacts, run: Mapping[str, Any]) -> str:
    """Returns the document that a file carries.

    Args:
        network: what its users must know.
        run: what `symskip import` must know beside; JSON can hold it.
    """
    document = {
        "layout_version": _LAYOUT_VERSION,
        "version": __version__,
        "network": dataclasses.asdict(network),
        "run": dict(run),
    }
    return json.dumps(document, allow_nan=False)


def from_json(text: str | None, where: object) -> tuple[NetworkFacts, dict[str, Any]]:
    """Returns what `to_json` was given.

    Args:
        text: the document; None where the file has none.
        where: the file, for messages.

    Raises:
        UserError: it is no such document, or says what cannot be.
    """
    if text is None:
        raise UserError(f"{where} was not written by `symskip export`: its metadata lack {KEY}")
    try:
        document = json.loads(text)
        if document["layout_version"] != _LAYOUT_VERSION:
            raise UserError(
                f"{where} was written by symskip_jax {document['version']}, whose files this "
                f"version, {__version__}, does not know"
            )
        network, run = _network(document["network"]), document["run"]
        if not isinstance(run, dict):
            raise ValueError("run is no object")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        reason = f"lack {error}" if isinstance(error, KeyError) else f"are broken: {error}"
        raise UserError(f"{where} cannot be read: its metadata {reason}") from error
    return network, run


def _network(fields: Any) -> NetworkFacts:
    known = {field.name: field for field in dataclasses.fields(NetworkFacts)}
    if unknown := sorted(set(fields) - set(known)):
        raise ValueError(f"network has a field {unknown[0]}")
    for name, holds in _RULES.items():
        if not holds(fields[name]):
            raise ValueError(f"network.{name} is {fields[name]!r}"[:200])
    network = NetworkFacts(**{name: _as_tuples(value) for name, value in fields.items()})
    if not len(network.mean) == len(network.std) == network.channels:
        raise ValueError("network.mean and network.std are not of as many channels as the images")
    has_decoder, has_classes = network.skip is not None, network.class_names is not None
    expected = {
        "encoder": (False, False, False),
        "autoencoder": (True, False, False),
        "classifier": (False, True, True),
        "segmenter": (True, False, True),
    }[network.part]
    if (has_decoder, network.head is not None, has_classes) != expected:
        raise ValueError(f"network.skip, head and class_names are not those of a {network.part}")
    return network


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


def _is_count(value: Any) -> bool:
    return type(value) is int and 1 <= value < 2**31


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_list(value: Any, holds: Any, count: int | None = None) -> bool:
    return isinstance(value, list) and count in (None, len(value)) and all(map(holds, value))


def _is_layer(value: Any) -> bool:
    return _is_list(value, _is_count, 3) and value[0] % 2 == 1 and value[0] >= value[1]


_RULES = {
    "part": lambda value: value in PARTS,
    "spec": lambda value: isinstance(value, str),
    "layers": lambda value: _is_list(value, _is_layer) and len(value) > 0,
    "batch_norm": lambda value: isinstance(value, bool),
    "channels": _is_count,
    "image_size": lambda value: _is_list(value, _is_count, 2),
    "any_size": lambda value: isinstance(value, bool),
    "mean": lambda value: _is_list(value, _is_number),
    "std": lambda value: _is_list(value, lambda it: _is_number(it) and it > 0),
    "skip": lambda value: value in (None, *SKIPS),
    "skip_strength": lambda value: _is_number(value) and 0 <= value <= 1,
    "head": lambda value: value in (None, *HEADS),
    "hidden": lambda value: _is_list(value, _is_count),
    "class_names": lambda value: value is None or _is_list(value, lambda it: isinstance(it, str)),
}
