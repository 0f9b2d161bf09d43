"""The datasets that the experiments read, by the part they play."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from symskip_jax.data.sources import open_source, say_where
from symskip_jax.errors import MissingDataError, UserError, did_you_mean

_SLICE = re.compile(r"(\w+)\[(?:(\d+)%)?:(?:(\d+)%)?\]")


class Role(NamedTuple):
    """A dataset of the paper.

    name: what `config.data.name` is by default.
    images: of each split that is trained or measured on, where it is the published one.
    pixels: of all images, where they are given whole to a network.
    """

    name: str
    images: Mapping[str, int]
    pixels: int = 0

    def count(self, split: str) -> int | None:
        """Returns how many images there are in a split, or in a slice of one: train[90%:]."""
        if sliced := _SLICE.fullmatch(split):
            whole = self.images.get(sliced[1])
            percent = int(sliced[3] or 100) - int(sliced[2] or 0)
            return None if whole is None else whole * percent // 100
        return self.images.get("fold_0" if split.startswith("fold_") else split)


ROLES = {
    "cifar10": Role("tfds:cifar10", {"train": 50_000, "test": 10_000}),
    "cifar100": Role("tfds:cifar100", {"train": 50_000, "test": 10_000}),
    "stl10": Role(
        "tfds:stl10", {"unlabelled": 100_000, "train": 5_000, "fold_0": 1_000, "test": 8_000}
    ),
    "imagenet": Role(
        "tfds:imagenet2012",
        {"train": 1_281_167, "animals": 93_000, "vehicles": 93_000, "validation": 50_000},
    ),
    "voc2007": Role("voc:VOCdevkit/VOC2007", {"trainval": 5_011, "test": 4_952}),
    "voc2012": Role("voc_segmentation:VOCdevkit/VOC2012", {"train": 1_464, "val": 1_449}),
    # BSDS300 whole, as RED-Net has it: 200 images for training and 100 for tests.
    "photographs": Role("folder:photographs", {"train": 300}),
    # Seven images of 256x256, five of 512x512.
    "set12": Role("folder:Set12", {}, 7 * 256**2 + 5 * 512**2),
}


def missing_data(roles: Iterable[str], names: Mapping[str, str]) -> list[str]:
    """Returns a line for each dataset that is not here, and how to say where it is.

    Args:
        roles: of the datasets that are read.
        names: of all, by their roles.
    """
    lines = []
    for role in dict.fromkeys(roles):
        name = names[role]
        try:
            open_source(name, "train")
        except MissingDataError as error:
            lines.append(say_where(str(error), name, f"--data {role}"))
        except (UserError, OSError):
            continue  # it is there; what is wrong with it, the run that reads it tells
    return lines


def chosen_names(choices: Sequence[str]) -> dict[str, str]:
    """Returns the name of the dataset for each role.

    Args:
        choices: `ROLE=NAME` of those that are not the default.

    Raises:
        UserError: there is no such role.
    """
    names = {role: it.name for role, it in ROLES.items()}
    for choice in choices:
        role, equals, name = choice.partition("=")
        if role not in names or not equals or not name:
            raise UserError(
                f"--data {choice} must be ROLE=NAME, with a role of {', '.join(names)}, "
                "and a dataset's name as in `symskip data list`"
                + ("" if role in names else did_you_mean(role, names))
            )
        names[role] = name
    return names
