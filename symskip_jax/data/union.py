"""Several sources as one: unions, and mixtures in proportions."""

import hashlib
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from symskip_jax.data.base import UNLABELLED, Features, Source, Stored
from symskip_jax.data.subset import Subset
from symskip_jax.errors import UserError

# A mixture that repeats its images more often than this was hardly meant.
MAX_REPEATED = 100

_PART = re.compile(r"(?:(?P<weight>\d+\.?\d*|\.\d+)\*)?(?P<name>.+?)(?:@(?P<split>[^@/]+))?")


class Part(NamedTuple):
    """A part of a union, as it is named.

    weight: its share before a star; None where there is none.
    split: what is behind an @; None where there is none.
    """

    name: str
    weight: float | None
    split: str | None


def parse_union(name: str, schemes: Sequence[str]) -> list[Part] | None:
    """Take `NAME + NAME` or `WEIGHT*NAME + WEIGHT*NAME` apart.

    Every NAME may end in `@SPLIT`; what has a slash behind its @ is a path, though. A plus counts
    only between spaces and before the name of a dataset, so that paths may have one.

    Args:
        name: as a configuration has it.
        schemes: what a dataset's name starts with.

    Returns:
        None if it is not of this form.

    Raises:
        UserError: some parts have weights and some have none, or a weight is 0.
    """
    start = "|".join(map(re.escape, schemes))
    pieces = re.split(rf" \+ (?=(?:[\d.]+\*)?(?:{start})(?![\w-]))", name)
    matches = [match for it in pieces if (match := _PART.fullmatch(it.strip()))]
    if len(pieces) < 2 or len(matches) < len(pieces):
        return None
    parts = [
        Part(it["name"], float(it["weight"]) if it["weight"] else None, it["split"])
        for it in matches
    ]
    if len({it.weight is None for it in parts}) > 1:
        raise UserError(f"'{name}': give every part a weight, as in 0.7*A + 0.3*B, or none of them")
    if any(it.weight == 0 for it in parts):
        raise UserError(f"'{name}': a weight must be more than 0; leave that part out")
    return parts


class Union(Source):
    """The images of several sources, one source after the other.

    Labels are kept where all of them have the same kind of label and the same classes; otherwise
    there are none. Where one of them is in colour, grey becomes RGB.
    """

    def __init__(self, name: str, sources: Sequence[Source]):
        self.name = name
        self.features = _common_features([it.features for it in sources])
        self._sources = tuple(sources)
        self._starts = np.cumsum([0, *map(len, sources)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def stored(self, index: int, /) -> Stored:
        """Read one image without decoding it."""
        source, place = self._find(index)
        return self._adapt(source.stored(place))

    def stored_many(self, indices: Sequence[int], /) -> list[Stored]:
        """Read many, those of one source in one call."""
        indices_n = np.asarray(indices)
        parts_n = np.searchsorted(self._starts, indices_n, side="right") - 1
        found: dict[int, Stored] = {}
        for part in np.unique(parts_n).tolist():
            positions = np.flatnonzero(parts_n == part).tolist()
            places = (indices_n[positions] - self._starts[part]).tolist()
            stored = self._sources[part].stored_many(places)
            found.update(zip(positions, map(self._adapt, stored), strict=True))
        return [found[position] for position in range(len(indices_n))]

    def labels(self) -> np.ndarray:
        """Give the labels of all images, int32 [N]."""
        if self.features.label_kind == "none":
            return np.full(len(self), UNLABELLED, np.int32)
        return np.concatenate([it.labels() for it in self._sources])

    def fingerprint(self) -> str:
        """Give 16 digits of what the sources give, in their order."""
        facts = repr([self.features, *(it.fingerprint() for it in self._sources)])
        return hashlib.sha256(facts.encode()).hexdigest()[:16]

    def describe(self, index: int, /) -> str:
        """Name one image as its own source does."""
        source, place = self._find(index)
        return source.describe(place)

    def names(self, indices: Sequence[int], /) -> list[str]:
        """Name images as their own sources do; two of them may have the same name."""
        return [source.names([place])[0] for source, place in map(self._find, indices)]

    def _find(self, index: int) -> tuple[Source, int]:
        part = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._sources[part], int(index - self._starts[part])

    def _adapt(self, stored: Stored) -> Stored:
        image, label = stored
        if self.features.label_kind == "none":
            label = UNLABELLED
        if isinstance(image, np.ndarray) and image.shape[2] < self.features.image_shape[2]:
            image = np.repeat(image, self.features.image_shape[2], axis=2)
        return Stored(image, label)


def mix(name: str, sources: Sequence[Source], weights: Sequence[float]) -> Union:
    """Make a union in which each source has its share of the images.

    It is as long as it must be for no image to be left out: the source that is short of images
    gives each of them once, and the others repeat theirs, each once more or less than the next.
    Which ones are repeated once more is a fixed random draw.

    Args:
        name: of the mixture.
        sources: with at least one image each.
        weights: more than 0; their proportions count.

    Raises:
        UserError: the mixture would have more than MAX_REPEATED times the images there are.
    """
    total = max(len(it) / weight for it, weight in zip(sources, weights, strict=True))
    counts = [
        max(len(it), round(total * weight)) for it, weight in zip(sources, weights, strict=True)
    ]
    num_images = sum(map(len, sources))
    if sum(counts) > MAX_REPEATED * num_images:
        sizes = ", ".join(str(len(it)) for it in sources)
        raise UserError(
            f"'{name}': so that each part has its share, {num_images} images would be repeated to "
            f"{sum(counts)}: choose weights nearer to the sizes, {sizes}"
        )
    repeated = [
        Subset(source, _repeated(len(source), count))
        for source, count in zip(sources, counts, strict=True)
    ]
    return Union(name, repeated)


def _repeated(size: int, count: int) -> np.ndarray:
    """Indices below size, int64 [count], each about as often as the next."""
    times, rest = divmod(count, size)
    drawn = np.sort(np.random.RandomState(0).permutation(size)[:rest])
    return np.concatenate([np.tile(np.arange(size), times), drawn])


def _common_features(features: Sequence[Features]) -> Features:
    sizes = {it.image_shape[:2] for it in features}
    height, width = sizes.pop() if len(sizes) == 1 else (None, None)
    shape = height, width, max(it.image_shape[2] for it in features)
    first = features[0]
    if any(it[1:] != first[1:] for it in features):  # in their labels
        return Features(shape, "none", None)
    return Features(shape, first.label_kind, first.class_names)
