"""The datasets that the experiments read, by the part they play."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from symskip_jax.errors import UserError


class Role(NamedTuple):
    """A dataset of the paper.

    name: what `config.data.name` is by default.
    images: of each split that is trained on, where it is the published one.
    """

    name: str
    images: Mapping[str, int]


ROLES = {
    "cifar10": Role("tfds:cifar10", {"train": 50_000}),
    "cifar100": Role("tfds:cifar100", {"train": 50_000}),
    "stl10": Role("tfds:stl10", {"unlabelled": 100_000, "train": 5_000, "fold_0": 1_000}),
    "imagenet": Role("tfds:imagenet2012", {"train": 1_281_167, "animals": 93_000}),
    "voc2007": Role("voc:VOCdevkit/VOC2007", {"trainval": 5_011}),
    "voc2012": Role("voc_segmentation:VOCdevkit/VOC2012", {"train": 1_464}),
    "photographs": Role("folder:photographs", {"train": 400}),
    "set12": Role("folder:Set12", {}),
}


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
            )
        names[role] = name
    return names
