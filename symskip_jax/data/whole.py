"""Whole images of any size, one by one, with their labels."""

import logging
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

from symskip_jax.data.base import Example, Source
from symskip_jax.data.notices import warn_once
from symskip_jax.data.reading import Faults, Images, Reader, why_bad

# Images that wait for whoever takes them, for each thread that reads.
AHEAD = 4

log = logging.getLogger(__name__)


def whole_images(
    source: Source, *, threads: int = 2, faults: Faults = Faults()
) -> Generator[Example]:
    """Gives every image once, in order, as it is; those that are broken and skipped are left out.

    Args:
        source: of the images.
        threads: that read.
        faults: what is done about what cannot be read.

    Raises:
        UserError: an image cannot be decoded or read.
    """
    reader = Reader(source, None, faults)

    def read(index: int) -> Images:
        return reader.read([index])

    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(source), threads * AHEAD):
            indices = range(start, min(start + threads * AHEAD, len(source)))
            for index, found in zip(indices, pool.map(read, indices), strict=True):
                if found.bad_b[0] >= 0:
                    warn_once(log, f"left out {why_bad(source, index)}")
                else:
                    yield Example(found.images_bhwc[0], found.labels_b[0])
