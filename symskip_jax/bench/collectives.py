"""Lists the collectives of a compiled step, from the text of its HLO.

JAX gives that text (`compiled.as_text()`) and sums of operations and bytes (`cost_analysis()`), but
no list of what devices say to each other.
"""

import dataclasses
import math
import re
from typing import Literal

from symskip_jax.errors import UserError

Purpose = Literal["forward statistics", "backward statistics", "gradients"]

_KINDS = ("all-reduce", "all-gather", "reduce-scatter", "collective-permute", "all-to-all")
# %name = f32[8]{0} all-reduce(%operand), ...; a tuple of shapes where several were combined.
_INSTRUCTION = re.compile(rf"^\s*(?:ROOT )?%?\S+ = (.*?) ({'|'.join(_KINDS)})(-start)?\(", re.M)
_SHAPE = re.compile(r"\b([a-z]+\d*[a-z0-9]*)\[([\d,]*)\]")
_LISTED_GROUPS = re.compile(r"replica_groups=\{\{([\d, ]*)\}")
_IOTA_GROUPS = re.compile(r"replica_groups=\[(\d+),(\d+)\]<=")
_MESH_GROUPS = re.compile(r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\S+)? \{([^}]*)\}")
_PAIRS = re.compile(r"source_target_pairs=\{(.*?)\}\}")
_OP_NAME = re.compile(r'op_name="([^"]*)"')


@dataclasses.dataclass(frozen=True)
class Array:
    """What one device holds of an array: its dtype as HLO calls it, and its shape."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Bytes on one device, without padding."""
        digits = re.search(r"\d+", self.dtype)  # f32, bf16, f8e4m3fn, s4; pred has none
        return -(-math.prod(self.shape) * int(digits[0] if digits else 8) // 8)


@dataclasses.dataclass(frozen=True)
class Collective:
    """One collective, as every device runs it.

    Attributes:
        kind: `all-reduce`, `all-gather`, `reduce-scatter`, `collective-permute` or `all-to-all`.
        arrays: what comes out of it on one device; several where the compiler combined some.
        group_size: devices that take part in it together.
        is_async: whether other work may run between its start and its end.
        op_name: the operation in the program that it comes from, as JAX calls it.
    """

    kind: str
    arrays: tuple[Array, ...]
    group_size: int
    is_async: bool
    op_name: str

    @property
    def bytes(self) -> int:
        """Bytes of the whole arrays: what a device gives to all-reduce or ends an all-gather with.

        How many of them cross a link is a matter of the algorithm.
        """
        total = sum(array.bytes for array in self.arrays)
        return total * self.group_size if self.kind == "reduce-scatter" else total

    @property
    def purpose(self) -> Purpose:
        """What a train step needs it for.

        Vectors are BatchNorm's sums over the batch, or the gradients of its parameters; only the
        gradients of kernels have more axes that are longer than 1. Where the compiler combined
        both, it is `gradients`.
        """
        if any(sum(length > 1 for length in array.shape) > 1 for array in self.arrays):
            return "gradients"
        return "backward statistics" if "transpose(" in self.op_name else "forward statistics"


def collectives(hlo: str) -> list[Collective]:
    """Returns the collectives of a compiled module, in the order of its text.

    One within a loop is listed once, however often the loop runs.

    Args:
        hlo: of `jax.stages.Compiled.as_text()`.

    Raises:
        UserError: the text is no HLO, or says in a way unknown here which devices take part.
    """
    if not hlo.startswith("HloModule"):
        raise UserError("this is not the text of a compiled module: it does not start in HloModule")
    found = []
    for match in _INSTRUCTION.finditer(hlo):
        end = hlo.find("\n", match.end())
        line = hlo[match.start() : end if end >= 0 else None]
        result, kind, start = match.groups()
        arrays = [
            Array(dtype, tuple(int(n) for n in dims.split(",") if n))
            for dtype, dims in _SHAPE.findall(result)
        ]
        if start and kind != "all-reduce":
            # The start of the others returns its operands too, and some a u32[] or two at the end.
            arrays = [array for array in arrays if array != Array("u32", ())]
            arrays = arrays[len(arrays) // 2 :]
        op_name = _OP_NAME.search(line)
        found.append(
            Collective(
                kind,
                tuple(arrays),
                _group_size(line, hlo),
                start is not None,
                op_name[1] if op_name else "",
            )
        )
    return found


def _group_size(line: str, hlo: str) -> int:
    if listed := _LISTED_GROUPS.search(line):
        return len(listed[1].split(","))
    if iota := _IOTA_GROUPS.search(line):
        return int(iota[2])
    if mesh := _MESH_GROUPS.search(line):
        sizes = dict(re.findall(r"'([^']+)'=(\d+)", mesh[1]))
        return math.prod(int(sizes[axis]) for axis in re.findall(r"'([^']+)'", mesh[2]))
    if pairs := _PAIRS.search(line):
        return len(set(re.findall(r"\d+", pairs[1])))
    if "replica_groups={}" in line:
        counts = re.findall(r"\b(?:num_partitions|replica_count)=(\d+)", hlo[: hlo.find("\n")])
        return math.prod(int(count) for count in counts)
    raise UserError(f"no replica_groups are known in: {line.strip()[:300]}")
