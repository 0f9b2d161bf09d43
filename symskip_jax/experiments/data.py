"""`symskip data`: what there is to train on."""

from symskip_jax.data.catalog import list_datasets


def print_datasets(data_dir: str | None) -> None:
    """Prints the datasets by the names that a configuration calls them (`data.name`)."""
    for listing in list_datasets(data_dir):
        print(f"{listing.name}\n    {listing.description}\n    {listing.where}")
