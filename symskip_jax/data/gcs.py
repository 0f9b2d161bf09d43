"""Folders on Google Cloud Storage, gs://BUCKET/PATH, for datasets that are prepared there."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import Any, cast

from symskip_jax.errors import MissingDataError, ReadFailedError, UserError
from symskip_jax.extras import how_to_install

SCHEME = "gs://"
VERSION = re.compile(r"\d+\.\d+\.\d+")

# Where ArrayRecord's client sends its requests, without credentials if it is set at all.
_RECORDS_FROM = "CLOUD_STORAGE_EMULATOR_ENDPOINT"
_METADATA_FROM = "STORAGE_EMULATOR_HOST"  # the same for gcsfs


def bucket_folder(address: str) -> Path:
    """The folder of an address gs://BUCKET/PATH: like a Path, as far as datasets need it.

    Raises:
        UserError: gcsfs is not installed, or there is no way to get in.
    """
    if not re.match(r"gs://[^/]", address):
        raise UserError(f"'{address}' is not of the form gs://BUCKET/PATH")
    if not find_spec("gcsfs"):
        raise UserError(f"reading {address} needs gcsfs: {how_to_install('gcs')}")
    from etils import epath

    _connect()
    return cast(Path, epath.Path(address))


def is_bucket(path: PurePath | str) -> bool:
    """Whether a path or an address is on Google Cloud Storage."""
    return str(path).startswith(SCHEME)


def read_infos(folder: Path, name: str | None = None) -> dict[Path, bytes]:
    """Read the dataset_info.json of each dataset (of this name) in a folder on a bucket.

    Only folders above a version are listed: a version may have thousands of files.

    Returns:
        the content, by the file's path.

    Raises:
        UserError: there is no such folder, or no access to it.
        ReadFailedError: the bucket did not answer.
    """
    with answering(folder):
        named = [folder / name] if name else _sub_folders(folder)
        children = [child for it in named for child in _sub_folders(it)]
        if not children and not _sub_folders(folder):
            raise MissingDataError(f"there is no {folder}, or no folder is in it: check the name")
        versions = []
        for child in children:
            is_version = VERSION.fullmatch(child.name)
            versions.extend([child] if is_version else _sub_folders(child))
        paths = [it / "dataset_info.json" for it in versions if VERSION.fullmatch(it.name)]
        return {path: content for path in paths if (content := _read(path)) is not None}


@contextmanager
def answering(path: PurePath | str) -> Iterator[None]:
    """Answer with one line what gcsfs and ArrayRecord raise of a bucket; of other paths, nothing.

    Raises:
        UserError: access is denied.
        ReadFailedError: there was no answer, or one that may differ the next time.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # theirs have no class in common, and gcsfs may not be there
        refused, failed = _is_refusal(error), _is_failure(error)
        if not is_bucket(path) or not (refused or failed):
            raise
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        if refused:
            raise UserError(
                f"{path} cannot be read: see that your account has access to it and that "
                f"`gcloud auth application-default login` was run ({reason})"
            ) from error
        raise ReadFailedError(f"{path} did not answer ({reason})") from error


def _is_refusal(error: Exception) -> bool:
    code = getattr(error, "code", None)
    return (
        code in (401, 403, "401", "403")
        or (isinstance(error, OSError) and str(error).startswith("Forbidden"))
        or (
            isinstance(error, RuntimeError)
            and re.search(r"Permanent error.*(\b40[13]\b|access token|[Cc]redential)", str(error))
            is not None
        )
    )


def _is_failure(error: Exception) -> bool:
    library = type(error).__module__.partition(".")[0]
    return (
        library in ("gcsfs", "aiohttp", "requests", "google")
        or isinstance(error, ConnectionError | TimeoutError)
        # A missing or damaged file is no failure of the bucket.
        or (isinstance(error, RuntimeError) and "Retry policy exhausted" in str(error))
    )


def _sub_folders(folder: Path) -> list[Path]:
    try:
        entries = _connect().ls(str(folder), detail=True)
    except FileNotFoundError:
        return []
    return [
        folder / it["name"].rstrip("/").rpartition("/")[2]
        for it in entries
        if it["type"] == "directory"
    ]


def _read(path: Path) -> bytes | None:
    try:
        return _connect().cat_file(str(path))
    except FileNotFoundError:
        return None


@cache
def _connect() -> Any:
    # To look up the kind of each bucket takes credentials and time, and reading needs it not.
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    import gcsfs

    # It logs the traceback of whatever it raises, and its credentials that there are none.
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL + 1)
    logging.getLogger("google.auth").setLevel(logging.ERROR)
    with answering(SCHEME):
        # As etils opens it, by which TFDS reads: equal arguments give the same object.
        files: Any = gcsfs.GCSFileSystem(finalize_on_close=True)
    if files.credentials.credentials is None:
        # Where gcsfs goes without credentials to a public bucket, ArrayRecord's client would ask
        # for some that are not there, for minutes.
        service = os.environ.get(_METADATA_FROM) or "https://storage.googleapis.com"
        os.environ.setdefault(_RECORDS_FROM, service)
    return files
