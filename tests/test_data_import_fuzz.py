"""Archives with bytes changed, cut or repeated: imported, or refused in one line, and no third."""

import gzip
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import archives
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from symskip_jax.data.archives.importing import import_archives
from symskip_jax.data.archives.unpickle import read_pickle
from symskip_jax.errors import UserError


def cifar(name: str, version: str) -> bytes:
    splits, files = archives.cifar(name, per_file=1)
    write = archives.cifar_binary if version == "binary" else archives.cifar_python
    return archives.tar_bytes(write(name, splits, files), gz=False)


# Not compressed, so that a change reaches what is inside.
CONTENTS = {
    "cifar10 binary": ("cifar10", cifar("cifar10", "binary")),
    "cifar10 python": ("cifar10", cifar("cifar10", "python")),
    "cifar100 binary": ("cifar100", cifar("cifar100", "binary")),
    "cifar100 python": ("cifar100", cifar("cifar100", "python")),
    "stl10": ("stl10", archives.tar_bytes(archives.stl10_binary(*archives.stl10()), gz=False)),
    "imagenet train": ("imagenet2012", archives.imagenet_train(["n01514668", "n01440764"])[0]),
    "imagenet validation": ("imagenet2012", archives.imagenet_validation([1, 2])[0]),
    "voc2012": (
        "voc2012",
        archives.tar_bytes(archives.voc("2012", ["a", "b"], {"train": ["a", "b"]}), gz=False),
    ),
}


def headers(content: bytes) -> list[int]:
    """Where tar's headers are."""
    starts = range(0, len(content), 512)
    return [start for start in starts if content[start + 257 : start + 262] == b"ustar"]


def interesting(content: bytes) -> list[int]:
    """Where a change means something: headers, and the beginnings of files."""
    meaning = [*range(160), *range(257, 265), *range(512, 700)]
    return [start + i for start in headers(content) for i in meaning]


def mend(content: bytearray) -> None:
    """Write right checksums into the headers, so that what is changed in them counts."""
    for start in headers(bytes(content)):
        content[start + 148 : start + 156] = b" " * 8
        total = sum(content[start : start + 512])
        content[start + 148 : start + 156] = b"%06o\0 " % total


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    changed = bytearray(content)
    places = st.integers(0, len(content) - 1)
    if meaning := interesting(content):
        places = st.sampled_from(meaning) | places
    for place, value in draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=4)):
        changed[place % len(changed)] = value
    start, length = draw(st.tuples(places, st.integers(0, 2000)))
    match draw(st.sampled_from(["keep", "mend", "cut", "remove", "repeat"])):
        case "mend":
            mend(changed)
        case "cut":
            del changed[start:]
        case "remove":
            del changed[start : start + length]
        case "repeat":
            changed[start:start] = changed[start : start + length]
    return bytes(changed)


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("compressed", [False, True])
@settings(max_examples=15)
@given(data=st.data())
def test_a_damaged_archive_is_imported_or_refused(kind, compressed, data):
    name, content = CONTENTS[kind]
    if compressed:
        content = data.draw(damaged(gzip.compress(content, 1, mtime=0)))
    else:
        content = data.draw(damaged(content))
    with tempfile.TemporaryDirectory() as folder:
        path = archives.write(Path(folder) / "archive", content)
        data_dir = Path(folder) / "data"
        try:
            made = import_archives(name, [path], str(data_dir), any_checksum=True)
        except UserError as error:
            assert "\n" not in str(error) and len(str(error)) < 1000
            assert archives.listing(Path(folder)) == ["archive"]
        else:
            assert made.path.is_dir() and not list(data_dir.rglob("incomplete*"))


PICKLES = [
    archives.pickle2({"data": np.zeros((2, 12), np.uint8), "labels": [1, 2], "names": ["a"]}),
    *(pickle.dumps({"data": np.zeros((2, 12), np.uint8), "labels": [1, 2]}, p) for p in range(3)),
]


@settings(max_examples=200)
@given(data=st.data())
def test_a_damaged_pickle_is_read_or_refused(data):
    content = bytearray(data.draw(st.sampled_from(PICKLES)))
    places = st.integers(0, len(content) - 1)
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=6)):
        content[place] = value
    try:
        read_pickle(bytes(content), "it")
    except UserError as error:
        assert "\n" not in str(error)


# 150,000 tuples in one another, in every place where Python might go down into them.
DEEP = b")" + b"\x85" * 150_000
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n)R(K\x01"


NESTED = [
    b"}" + DEEP + b"K\x01s",
    b"}(" + DEEP + b"K\x01u",
    b"(" + DEEP + b"K\x01d",
    DEEP,
    DEEP + DEEP + b"\x93",
    b"cnumpy\ndtype\n" + DEEP + b"\x85R",
    b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n" + DEEP + b"\x85RU\x01atR",
    ARRAY + DEEP + b"NNNtb",
    ARRAY + b")cnumpy\ndtype\n" + DEEP + b"\x85RNNtb",
    ARRAY + b"K\x01\x85cnumpy\ndtype\nU\x02u1\x85RN" + DEEP + b"tb",
    b"}K\x01" * 150_000 + b"N" + b"s" * 150_000,
    b"]" * 150_000 + b"a" * 149_999,
]


def test_deep_nesting_is_refused_in_a_process_that_survives_it(tmp_path):
    for index, content in enumerate(NESTED):
        (tmp_path / f"{index:02}").write_bytes(b"\x80\x02" + content + b".")
    code = (
        "import pathlib, sys\n"
        "from symskip_jax.data.archives.unpickle import read_pickle\n"
        "from symskip_jax.errors import UserError\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):\n"
        "    try: read_pickle(path.read_bytes(), path.name)\n"
        "    except UserError as error: print(len(str(error)) < 200, flush=True)\n"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path)]
    result = subprocess.run(arguments, capture_output=True, text=True)
    assert result.stdout.split() == ["True"] * len(NESTED), result.stderr
    assert result.returncode == 0


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_pickle_or_refused(content):
    try:
        read_pickle(b"\x80\x02" + content + b".", "it")
    except UserError as error:
        assert "\n" not in str(error)
