"""Whether an archive is the one that was published."""

import hashlib
from pathlib import Path

from symskip_jax.data.archives.known import KNOWN
from symskip_jax.data.archives.progress import open_shown
from symskip_jax.errors import UserError

CHUNK_BYTES = 2**20


def verify(name: str, archive: Path) -> None:
    """Check that a file is one of the archives that a dataset was published as.

    Raises:
        UserError: it is not, or it is cut short.
    """
    num_bytes = archive.stat().st_size
    same_size = [it for it in KNOWN[name] if it.num_bytes == num_bytes]
    if not same_size:
        raise UserError(_wrong_size(name, archive, num_bytes))
    if _sha256(archive) not in {it.sha256 for it in same_size}:
        raise UserError(
            f"{archive} has the size of {same_size[0].file_name} but not its checksum: it is "
            f"damaged, download or copy it again ({_any_checksum()})"
        )


def _wrong_size(name: str, archive: Path, num_bytes: int) -> str:
    for known in KNOWN[name]:
        if known.file_name == archive.name and num_bytes < known.num_bytes:
            return (
                f"{archive} is truncated: it has {num_bytes:,} of {known.num_bytes:,} bytes; "
                f"download or copy it again ({_any_checksum()})"
            )
    published = " or ".join(f"{it.file_name} ({it.num_bytes:,} bytes)" for it in KNOWN[name])
    return (
        f"{archive} ({num_bytes:,} bytes) is not an archive of {name} as it was published, "
        f"{published}: it is truncated or another file ({_any_checksum()})"
    )


def _any_checksum() -> str:
    return "--any_checksum takes one that was packed anew"


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open_shown(path, "checking") as file:
        try:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}") from error
    return digest.hexdigest()
