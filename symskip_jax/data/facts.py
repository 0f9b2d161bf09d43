"""What is known of the published datasets, whether they are here or not."""

import re
from typing import NamedTuple

from symskip_jax.data.archives.known import KNOWN
from symskip_jax.data.catalog import resolve_data_dir


class Facts(NamedTuple):
    """A published dataset.

    text: what it shows.
    splits: images of each, by the names they have here.
    image_size: in words.
    num_classes: of its labels.
    licence: under what terms it may be used, as far as is known.
    """

    text: str
    splits: dict[str, int]
    image_size: str
    num_classes: int
    licence: str


# What TFDS can download by itself and reads as it is here.
_DOWNLOADED = ("cifar10", "cifar100", "stl10")

_NO_LICENCE = "none is given; its authors ask to be cited"
_FLICKR = "photographs from Flickr, under Flickr's terms of use; made for research"

FACTS = {
    "cifar10": Facts(
        "tiny photographs of animals and vehicles (Krizhevsky, 2009)",
        {"train": 50_000, "test": 10_000},
        "32x32",
        10,
        _NO_LICENCE,
    ),
    "cifar100": Facts(
        "tiny photographs of objects, animals, plants and people (Krizhevsky, 2009)",
        {"train": 50_000, "test": 10_000},
        "32x32",
        100,
        _NO_LICENCE,
    ),
    "stl10": Facts(
        "photographs out of ImageNet, few with labels (Coates, Lee and Ng, 2011)",
        {"train": 5_000, "test": 8_000, "unlabelled": 100_000},
        "96x96",
        10,
        _NO_LICENCE + "; the terms of ImageNet hold for its images",
    ),
    "imagenet2012": Facts(
        "photographs of the classes of the ILSVRC 2012 challenge (Russakovsky et al., 2015)",
        {"train": 1_281_167, "validation": 50_000},
        "of many sizes, 500x375 for the most part",
        1_000,
        "research and education that is not commercial; image-net.org gives access on request",
    ),
    "voc2007": Facts(
        "photographs of scenes, each with several classes (Everingham et al., 2010)",
        {"train": 2_501, "val": 2_510, "trainval": 5_011, "test": 4_952},
        "of many sizes, up to 500x500",
        20,
        _FLICKR,
    ),
    "voc2012": Facts(
        "photographs of scenes, each with several classes (Everingham et al., 2015)",
        {"train": 5_717, "val": 5_823, "trainval": 11_540},
        "of many sizes, up to 500x500",
        20,
        _FLICKR,
    ),
}


def known_name(name: str) -> str | None:
    """The key in FACTS of a dataset by any of its names: cifar10, tfds:cifar10:3.0.2, voc/2007."""
    bare = re.sub(r":[\d.]+$", "", name.removeprefix("tfds:")).replace("voc/", "voc")
    return bare if bare in FACTS else None


def source_name(name: str, data_dir: str | None) -> str:
    """What `open_source` calls a dataset that a person may have named shortly, such as cifar10."""
    if name in ("voc2007", "voc2012"):
        return f"voc:{resolve_data_dir(data_dir) / 'VOCdevkit' / name.upper()}"
    return f"tfds:{name}" if known_name(name) == name else name


def how_to_get(known: str) -> str:
    """One line about how a dataset of FACTS comes here."""
    names = [it.file_name for it in KNOWN[known]]
    # The archives of CIFAR are two versions of the same; those of the others are its parts.
    importing = f"symskip data import {known} "
    if known.startswith("cifar"):
        importing += " or ".join(names)
    else:
        importing += " ".join(names)
    if known in _DOWNLOADED:
        return f"{importing}; or, by a download, symskip data prepare {known}"
    return importing
