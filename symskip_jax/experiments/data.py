"""`symskip data`: what there is to train on, and how to get more of it."""

import logging
import os
import sys
from argparse import Namespace

import rich.filesize
import rich.progress
from rich.console import Console
from rich.markup import escape

from symskip_jax.data.base import Source
from symskip_jax.data.catalog import list_datasets
from symskip_jax.data.notices import warn_once
from symskip_jax.errors import UserError

SHOWN_CLASSES = 20

log = logging.getLogger(__name__)


def run_data(arguments: Namespace) -> None:
    """Does what the words behind `symskip data` say."""
    if arguments.action == "import":
        import_dataset(arguments)
    elif arguments.action == "prepare":
        prepare_dataset(arguments)
    elif arguments.action == "info":
        print_info(arguments.name, arguments.data_dir)
    elif arguments.action == "check":
        check_dataset(arguments.name, arguments.split, arguments.data_dir)
    else:
        print_datasets(arguments.data_dir)


def print_datasets(data_dir: str | None) -> None:
    """Prints the datasets by the names that a configuration calls them (`data.name`)."""
    for listing in list_datasets(data_dir):
        print(f"{listing.name}\n    {listing.description}\n    {listing.where}")


def import_dataset(arguments: Namespace) -> None:
    """Makes a dataset of its original archives and prints the name to open it by."""
    from symskip_jax.data.archives.importing import import_archives

    made = import_archives(
        arguments.name.removeprefix("tfds:"),
        arguments.archives,
        arguments.data_dir,
        any_checksum=arguments.any_checksum,
    )
    print(made.name)
    if made.is_new:
        print(f"    imported into {made.path}")
    else:
        print(f"    is in {made.path} already: remove that folder to import it anew")


def prepare_dataset(arguments: Namespace) -> None:
    """Has TFDS prepare a dataset, or converts one, and prints what was done."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's chatter
    from symskip_jax.data.prepare import prepare

    path, done = prepare(arguments.name, arguments.data_dir)
    print(f"tfds:{arguments.name.removeprefix('tfds:')}\n    {done}\n    {path}")


def print_info(name: str, data_dir: str | None) -> None:
    """Prints what a dataset is: what is known of it, and what there is of it here.

    Raises:
        UserError: it is not here, and nothing is known of it.
    """
    from symskip_jax.data.facts import FACTS, how_to_get, known_name, source_name
    from symskip_jax.data.inspection import find_named, open_splits, size_on_disk
    from symskip_jax.data.named_subsets import subset_names

    known = known_name(name)
    sources, missing = {}, ""
    try:
        sources = open_splits(source_name(name, data_dir), data_dir)
    except UserError as error:
        if known is None:
            raise
        missing = str(error)
    print(source_name(name, data_dir))
    if known:
        facts = FACTS[known]
        splits = ", ".join(f"{split} {count:,}" for split, count in facts.splits.items())
        print(f"    {facts.text}")
        print(f"    as published: {splits}; {facts.image_size}; {facts.num_classes:,} classes")
        print(f"    licence: {facts.licence}")
        print(f"    how to get it: {how_to_get(known)}")
    if missing:
        print(f"    not here: {missing}")
        return
    print("    here: " + ", ".join(f"{split} {len(it):,}" for split, it in sources.items()))
    if prepared := find_named(source_name(name, data_dir), data_dir):
        print(f"    where: {prepared.path}")
        if subsets := subset_names(prepared):
            print(f"    and its subsets: {', '.join(subsets)}")
    if num_bytes := size_on_disk(source_name(name, data_dir), data_dir):
        print(f"    on disk: {rich.filesize.decimal(num_bytes)}")
    source = next(iter(sources.values()))
    print(f"    the first image: {source.describe(0)}")
    height, width, channels = source.features.image_shape
    size = f"{width}x{height}" if source.features.fixed_shape else "of several sizes, perhaps"
    print(f"    images: {size}, {'RGB' if channels == 3 else 'grey'}")
    print(f"    labels: {_describe_labels(source.features.label_kind, source.class_names)}")
    if counts := _label_counts(sources):
        print(f"    with a label: {counts}")


def check_dataset(name: str, split: str | None, data_dir: str | None) -> None:
    """Decodes every image of a dataset, or of one split, and prints a line for each broken one.

    Raises:
        UserError: the dataset cannot be opened, or an image is broken.
    """
    from symskip_jax.data.facts import source_name
    from symskip_jax.data.inspection import check_images, open_splits
    from symskip_jax.data.sources import open_source

    name = source_name(name, data_dir)
    if split is None:
        sources = open_splits(name, data_dir)
    else:
        sources = {split: open_source(name, split, data_dir)}
    num_images = num_broken = 0
    for source in sources.values():
        # Broken images go where standard output goes: above the bar only if that is a terminal too.
        bar = rich.progress.Progress(
            *rich.progress.Progress.get_default_columns(),
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=sys.stdout.isatty(),
        )
        with bar:
            shown = bar.track(check_images(source), len(source), description=escape(source.name))
            for lines in shown:
                num_images += 1
                num_broken += bool(lines)
                for line in lines:
                    print(line)
    splits = ", ".join(sources)
    if num_broken:
        raise UserError(f"{num_broken:,} of {num_images:,} images of {name} ({splits}) are broken")
    print(f"{name}: all {num_images:,} images can be read ({splits})")
    if counts := _label_counts(sources):
        print(f"with a label: {counts}")


def _label_counts(sources: dict[str, Source]) -> str:
    """How many images have a label, by split and class; warns of classes that may be the same.

    Empty for what is not one's own: labels of TFDS lie in the records, which take long to read.
    """
    from symskip_jax.data.inspection import count_labels, nearly_same

    own = {
        split: source
        for split, source in sources.items()
        if source.name.startswith(("folder:", "npz:")) and source.features.label_kind == "class"
    }
    for names in nearly_same(dict.fromkeys(it for s in own.values() for it in s.class_names or ())):
        quoted = ", ".join(f"'{it}'" for it in names)
        warn_once(log, f"the classes {quoted} differ in case or blanks alone: are they the same?")
    return ", ".join(
        f"{split} {sum(counts.values()):,} of {len(source):,} ({_list_counts(counts)})"
        for split, source in own.items()
        for counts in [count_labels(source)]
    )


def _list_counts(counts: dict[str, int]) -> str:
    if len(counts) > SHOWN_CLASSES:
        fewest, most = min(counts.values()), max(counts.values())
        return f"{fewest:,} to {most:,} in each of {len(counts):,} classes"
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _describe_labels(kind: str, class_names: tuple[str, ...] | None) -> str:
    if class_names is None:
        return "none"
    what = {"class": "one class an image", "classes": "several classes an image", "mask": "masks"}
    names = ", ".join(class_names[:SHOWN_CLASSES])
    more = f" and {len(class_names) - SHOWN_CLASSES:,} more"
    return f"{what[kind]}, of {len(class_names):,}: {names}" + (
        more if len(class_names) > SHOWN_CLASSES else ""
    )
