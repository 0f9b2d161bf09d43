"""Networks as safetensors files, under torch's names and in its layouts; torch is not needed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from symskip_jax.errors import UserError
from symskip_jax.interop.facts import KEY, NetworkFacts, from_json, to_json


class TensorFile(NamedTuple):
    """What a file holds.

    Attributes:
        network: what it is.
        run: what `symskip import` needs beside.
        tensors: arrays by torch's name.
    """

    network: NetworkFacts
    run: dict[str, Any]
    tensors: dict[str, np.ndarray]


def tensor_file_bytes(
    tensors: Mapping[str, np.ndarray], network: NetworkFacts, run: Mapping[str, Any]
) -> bytes:
    """Returns a safetensors file; the same bytes for the same network.

    Args:
        tensors: contiguous arrays by torch's name.
        network: what it is.
        run: what `symskip import` needs beside; JSON can hold it.
    """
    # One entry: the library writes several in an order of its own each time.
    return safetensors.numpy.save(dict(tensors), metadata={KEY: to_json(network, run)})


def read_tensor_file(path: Path) -> TensorFile:
    """Reads a file that `symskip export` wrote; nothing in it is run.

    Raises:
        UserError: it cannot be read, is cut short or broken, is another kind of file, or has
            tensors other than float32.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}; name one that `symskip export` wrote")
    try:
        with safe_open(path, framework="numpy") as file:
            network, run = from_json((file.metadata() or {}).get(KEY), path)
            names = list(file.keys())
            for name in names:
                if (dtype := file.get_slice(name).get_dtype()) != "F32":
                    raise UserError(f"{path} cannot be read: {name} is {dtype}, not F32")
            return TensorFile(network, run, {name: file.get_tensor(name) for name in names})
    except (SafetensorError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{path} is no whole safetensors file ({reason}); give one that "
            "`symskip export --format safetensors` wrote"
        ) from error


def check_shapes(
    path: Path, found: Mapping[str, np.ndarray], expected: Mapping[str, tuple[int, ...]]
) -> None:
    """Checks that tensors are those of a network, all of them and no others.

    Raises:
        UserError: one is missing, too much or of another shape.
    """
    for name, shape in expected.items():
        if name not in found:
            raise UserError(f"{path} cannot be read: the tensor {name} is missing")
        if found[name].shape != shape:
            raise UserError(
                f"{path} cannot be read: the tensor {name} is {list(found[name].shape)}, and the "
                f"network of its metadata has {list(shape)}"
            )
    if extra := sorted(set(found) - set(expected)):
        raise UserError(
            f"{path} cannot be read: the network of its metadata has no tensor {extra[0]}"
        )
