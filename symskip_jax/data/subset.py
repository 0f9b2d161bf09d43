"""Some of the images of a source."""

import hashlib
from collections.abc import Sequence

import numpy as np

from symskip_jax.data.base import Source, Stored
from symskip_jax.data.splits import indices_hash


class Subset(Source):
    """The images of `source` at `indices`, integer [n], in that order."""

    def __init__(self, source: Source, indices: np.ndarray):
        self.name = source.name
        self.features = source.features
        self._source = source
        self._indices = np.asarray(indices)

    def __len__(self) -> int:
        return len(self._indices)

    def stored(self, index: int, /) -> Stored:
        """Read one image without decoding it."""
        return self._source.stored(int(self._indices[index]))

    def stored_many(self, indices: Sequence[int], /) -> Sequence[Stored]:
        """Read many as the source reads them."""
        return self._source.stored_many(self._indices[np.asarray(indices)].tolist())

    def labels(self) -> np.ndarray:
        """Give the labels of these images, int32 [n]."""
        return self._source.labels()[self._indices]

    def fingerprint(self) -> str:
        """Give 16 digits of the source's images and of which they are."""
        facts = self._source.fingerprint() + indices_hash(self._indices)
        return hashlib.sha256(facts.encode()).hexdigest()[:16]

    def describe(self, index: int, /) -> str:
        """Name one image as the source does."""
        return self._source.describe(int(self._indices[index]))

    def names(self, indices: Sequence[int], /) -> list[str]:
        """Name images as the source does."""
        return self._source.names(self._indices[np.asarray(indices)].tolist())
