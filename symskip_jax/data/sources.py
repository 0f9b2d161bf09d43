"""Datasets by name. The same names everywhere: on the command line, in configs and in code."""

import os
from difflib import get_close_matches

from symskip_jax.data.base import ArraySource, Example, Source
from symskip_jax.errors import UserError

__all__ = ["FORMS", "ArraySource", "Example", "Source", "open_source"]

FORMS = {
    "digits": "digits",
    "tfds": "tfds:NAME[/CONFIG][:VERSION]",
    "folder": "folder:PATH",
    "npz": "npz:PATH",
    "voc": "voc:PATH",
    "voc_segmentation": "voc_segmentation:PATH",
    "+": "NAME + NAME",
}


def open_source(name: str, split: str, data_dir: str | None = None) -> Source:
    """Open a split of a dataset.

    Args:
        name: `digits`, `tfds:NAME[/CONFIG][:VERSION]`, `folder:PATH`, `npz:PATH`, `voc:PATH` or
            `voc_segmentation:PATH`; or several of them: `NAME + NAME` is their union, and
            `0.7*NAME + 0.3*NAME` a mixture in these proportions, as `union.mix` makes it. There,
            `NAME@SPLIT` takes another split of one of them.
        split: "train" or "test"; of a TFDS dataset any split that TFDS understands, such as
            "train[:80%]", and the subsets of `symskip_jax.data.named_subsets`, such as "fold_0" of
            stl10; of VOC "train", "val", "trainval" or "test".
        data_dir: where TFDS datasets are prepared; None is TFDS's own default, the environment
            variable TFDS_DATA_DIR or else ~/tensorflow_datasets. The others do not use it.

    Raises:
        UserError: the name, the split or what lies there is not usable; the line says why.
    """
    if " + " in name and (union := _open_union(name, split, data_dir)):
        return union
    scheme, _, rest = name.partition(":")
    # Imported here, so that a folder does not wait for TFDS, nor digits for OpenCV.
    if name == "digits":
        from symskip_jax.data.digits import open_digits

        return open_digits(split)
    if scheme == "tfds" and rest:
        from symskip_jax.data.tfds_source import open_tfds

        return open_tfds(rest, split, data_dir)
    if scheme == "folder" and rest:
        from symskip_jax.data.folder import FolderSource

        return FolderSource(rest, split)
    if scheme == "npz" and rest:
        from symskip_jax.data.npz import open_npz

        return open_npz(rest, split)
    if scheme == "voc" and rest:
        from symskip_jax.data.voc import VocSource

        return VocSource(rest, split)
    if scheme == "voc_segmentation" and rest:
        from symskip_jax.data.voc import VocSegmentation

        return VocSegmentation(rest, split)
    nearest = _nearest(name)
    hint = f"did you mean '{nearest}'? " if nearest else ""
    forms = ", ".join(FORMS.values())
    raise UserError(f"unknown dataset '{name}': {hint}a dataset is one of {forms}")


def say_where(text: str, name: str, option: str) -> str:
    """Returns what is said of a dataset that is missing, and how to tell where it is.

    Args:
        text: what is said.
        name: of the dataset.
        option: that takes its name.
    """
    also = "set TFDS_DATA_DIR, or " if "tfds:" in name else ""
    return f"{text}; if it is elsewhere, {also}name it with {option}=NAME"


def _open_union(name: str, split: str, data_dir: str | None) -> Source | None:
    from symskip_jax.data.union import Union, mix, parse_union

    parts = parse_union(name, [*FORMS])
    if parts is None:
        return None
    sources = [open_source(part.name, part.split or split, data_dir) for part in parts]
    weights = [part.weight for part in parts if part.weight is not None]
    # Where every part has a split of its own, the common one says nothing.
    full_name = name if all(part.split for part in parts) else f"{name} {split}"
    return mix(full_name, sources, weights) if weights else Union(full_name, sources)


def _nearest(name: str) -> str | None:
    scheme, colon, rest = name.partition(":")
    if name and os.path.isdir(os.path.expanduser(name)):
        return f"folder:{name}"
    if name.endswith(".npz"):
        return f"npz:{name}"
    if close := get_close_matches(scheme, FORMS, n=1):
        return f"{close[0]}:{rest}" if rest else FORMS[close[0]]
    return f"tfds:{name}" if name.isidentifier() else None
