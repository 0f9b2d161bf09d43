"""Write the lists of classes behind `animals` and `vehicles` of tfds:imagenet2012.

    python tools/imagenet_subsets.py /usr/share/wordnet/data.noun

data.noun is that of WordNet 3.0 (Debian: wordnet-base), whose offsets are ImageNet's wnids.
"""

import sys
from pathlib import Path

import tensorflow_datasets as tfds

LISTS = {
    "animals": {"n01861778": "mammal", "n01503061": "bird"},
    "vehicles": {"n03100490": "conveyance, transport"},
}
FOLDER = Path(__file__).resolve().parent.parent / "symskip_jax" / "data" / "wnids"


def read_nouns(path: Path) -> tuple[dict[str, str], dict[str, list[str]]]:
    """The words of each noun synset and its hyponyms, instances included, by wnid."""
    words: dict[str, str] = {}
    hyponyms: dict[str, list[str]] = {}
    for line in path.read_text(encoding="latin-1").splitlines():
        if line.startswith("  "):  # the licence
            continue
        fields = line.split(" | ")[0].split()
        wnid, num_words = f"n{fields[0]}", int(fields[3], 16)
        words[wnid] = ", ".join(fields[4 : 4 + 2 * num_words : 2]).replace("_", " ")
        pointers = fields[5 + 2 * num_words :]
        hyponyms[wnid] = [
            f"n{offset}"
            for symbol, offset in zip(pointers[::4], pointers[1::4], strict=False)
            if symbol in ("~", "~i")
        ]
    return words, hyponyms


def below(root: str, hyponyms: dict[str, list[str]]) -> set[str]:
    """A synset and everything below it."""
    found: set[str] = set()
    waiting = [root]
    while waiting:
        wnid = waiting.pop()
        if wnid not in found:
            found.add(wnid)
            waiting += hyponyms[wnid]
    return found


def main() -> None:
    """Write a file for each list."""
    words, hyponyms = read_nouns(Path(sys.argv[1]))
    labels = tfds.core.tfds_path("datasets/imagenet2012/labels.txt").read_text().split()
    for name, roots in LISTS.items():
        chosen = set().union(*(below(root, hyponyms) for root in roots))
        under = " or ".join(f'"{meaning}" ({wnid})' for wnid, meaning in roots.items())
        lines = [f"{wnid} {words[wnid]}" for wnid in labels if wnid in chosen]
        head = [
            f"# The {len(lines)} of the 1,000 classes of ImageNet (ILSVRC 2012) that are hyponyms",
            f"# of {under} in WordNet 3.0,",
            "# at any depth. Written by tools/imagenet_subsets.py.",
        ]
        (FOLDER / f"{name}.txt").write_text("\n".join([*head, *lines]) + "\n")


if __name__ == "__main__":
    main()
