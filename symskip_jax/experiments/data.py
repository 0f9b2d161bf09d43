"""`symskip data`: what there is to train on, and how to get more of it."""

import os
from argparse import Namespace

from symskip_jax.data.catalog import list_datasets


def run_data(arguments: Namespace) -> None:
    """Does what the words behind `symskip data` say."""
    if arguments.action == "import":
        import_dataset(arguments)
    elif arguments.action == "prepare":
        prepare_dataset(arguments)
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
