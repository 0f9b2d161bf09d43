"""Features as files: an archive of NumPy, or a table of Parquet."""

import importlib.util
import itertools
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from symskip_jax.analysis.files import replacing
from symskip_jax.errors import UserError
from symskip_jax.extras import how_to_install

SUFFIXES = (".npz", ".parquet")
# Batches that a row group of Parquet holds: more are read at once, fewer are found sooner.
_GROUP = 16


# Arrays by name: `features`, float32 [n, D]; `label`, integer [n], or int8 [n, classes] where an
# image has several, left out where none has one; `index`, int64 [n], the place in the dataset;
# `name`, str [n].
Piece = Mapping[str, np.ndarray]


def check_suffix(path: Path) -> None:
    """Checks that a file of this name can be written.

    Raises:
        UserError: it is of another kind, or what it takes is not installed.
    """
    if path.suffix not in SUFFIXES:
        raise UserError(f"--out {path} must end in {' or '.join(SUFFIXES)}")
    if path.suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise UserError(
            f"--out {path} must end in .npz, or needs pyarrow: {how_to_install('tables')}"
        )


def write_features(path: Path, pieces: Iterable[Piece], facts: Mapping[str, Any]) -> None:
    """Writes pieces, one after the other, to one file, whole or not at all.

    Memory is needed for a few pieces, not for all. The same pieces give the same bytes.

    Args:
        path: ending in .npz (the arrays of a piece, and `facts`, JSON in a string) or .parquet
            (columns of these names, a row an image, the facts under `symskip` in the metadata).
        pieces: of the same arrays, one at least; gone over more than once.
        facts: what they are, as JSON holds it.
    """
    with replacing(path) as temporary:
        if path.suffix == ".npz":
            _write_npz(temporary, pieces, json.dumps(facts))
        else:
            _write_parquet(temporary, pieces, json.dumps(facts))


def read_facts(path: Path) -> dict[str, Any] | None:
    """Returns the facts that a file of `write_features` holds; None if it is no such file."""
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                return json.loads(str(archive["facts"]))
        from pyarrow import parquet

        metadata: Any = parquet.read_schema(path).metadata
        return json.loads(metadata[b"symskip"])
    except (OSError, ValueError, LookupError, TypeError, zipfile.BadZipFile):
        return None


def _write_npz(path: Path, pieces: Iterable[Piece], facts: str) -> None:
    # Not by numpy.savez, which takes whole arrays.
    with zipfile.ZipFile(path, "w") as archive:
        count = sum(len(piece["index"]) for piece in pieces)
        first = next(iter(pieces))
        for name in first:
            dtype = first[name].dtype
            if name == "name":  # as wide as the longest
                dtype = max(piece[name].dtype for piece in pieces)
            header = {
                "descr": np.lib.format.dtype_to_descr(dtype),
                "fortran_order": False,
                "shape": (count, *first[name].shape[1:]),
            }
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as file:
                np.lib.format.write_array_header_2_0(file, header)
                for piece in pieces:
                    file.write(np.ascontiguousarray(piece[name], dtype).tobytes())
        with archive.open(zipfile.ZipInfo("facts.npy"), "w") as file:
            np.lib.format.write_array(file, np.array(facts))


def _write_parquet(path: Path, pieces: Iterable[Piece], facts: str) -> None:
    import pyarrow
    from pyarrow import parquet

    def table(group: Sequence[Piece]) -> Any:
        columns = {}
        for name in group[0]:
            array = np.concatenate([piece[name] for piece in group])
            columns[name] = pyarrow.array(array.reshape(-1))
            if array.ndim == 2:
                columns[name] = pyarrow.FixedSizeListArray.from_arrays(
                    columns[name], array.shape[1]
                )
        return pyarrow.table(columns)

    schema = table([next(iter(pieces))]).schema.with_metadata({"symskip": facts})
    with parquet.ParquetWriter(path, schema) as writer:
        remaining = iter(pieces)
        while group := list(itertools.islice(remaining, _GROUP)):
            writer.write_table(table(group).replace_schema_metadata(schema.metadata))
