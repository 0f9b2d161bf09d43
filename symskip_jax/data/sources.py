"""Datasets by name. The same names everywhere: on the command line, in configs and in code."""

from difflib import get_close_matches

from symskip_jax.data.base import ArraySource, Example, Source
from symskip_jax.errors import UserError

__all__ = ["FORMS", "ArraySource", "Example", "Source", "open_source"]

FORMS = {
    "digits": "digits",
    "tfds": "tfds:NAME[/CONFIG][:VERSION]",
    "folder": "folder:PATH",
    "npz": "npz:PATH",
}


def open_source(name: str, split: str, data_dir: str | None = None) -> Source:
    """Open a split of a dataset.

    Args:
        name: `digits`, `tfds:NAME[/CONFIG][:VERSION]`, `folder:PATH` or `npz:PATH`.
        split: "train" or "test"; of a TFDS dataset any split that TFDS understands, such as
            "train[:80%]".
        data_dir: where TFDS datasets are prepared; None is TFDS's own default, the environment
            variable TFDS_DATA_DIR or else ~/tensorflow_datasets. The others do not use it.

    Raises:
        UserError: the name, the split or what lies there is not usable; the line says why.
    """
    scheme, _, rest = name.partition(":")
    # Imported here, so that reading a folder does not wait for TFDS, nor digits for OpenCV.
    if name == "digits":
        from symskip_jax.data.digits import open_digits

        return open_digits(split)
    if scheme == "tfds" and rest:
        from symskip_jax.data.tfds_source import TfdsSource

        return TfdsSource(rest, split, data_dir)
    raise UserError(f"unknown dataset '{name}': {_hint(name)}a dataset is one of {_forms()}")


def _hint(name: str) -> str:
    scheme, colon, rest = name.partition(":")
    if scheme in FORMS:
        return ""
    nearest = get_close_matches(scheme, FORMS, n=1)
    if nearest:
        meant = nearest[0]
        return f"did you mean '{meant + colon + rest if colon else FORMS[meant]}'? "
    return "" if colon else f"did you mean 'tfds:{name}'? "


def _forms() -> str:
    return ", ".join(FORMS.values())
