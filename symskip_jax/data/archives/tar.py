"""Tar archives, read once from front to end, with nothing in them trusted."""

import gzip
import shutil
import tarfile
import zlib
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Protocol, cast

from symskip_jax.data.archives.progress import open_shown
from symskip_jax.errors import UserError

GZIP_MAGIC = b"\x1f\x8b"

# What tarfile and gzip raise for bytes that are not what they should be, or cannot be read.
_DAMAGE = (tarfile.TarError, zlib.error, EOFError, OSError, ValueError, LookupError, OverflowError)


class _Readable(Protocol):
    def read(self, size: int = ..., /) -> bytes: ...


class Member:
    """A file in an archive, to be read before the next one is asked for.

    path: relative, without `..`.
    num_bytes: its size.
    """

    def __init__(self, path: PurePosixPath, num_bytes: int, file: _Readable, archive: str):
        self.path, self.num_bytes = path, num_bytes
        self._file, self._archive = file, archive

    def read(self, num_bytes: int = -1) -> bytes:
        """Read so many bytes, or what is left.

        Raises:
            UserError: the archive is cut short or damaged.
        """
        with _naming(self._archive):
            return self._file.read() if num_bytes < 0 else self._file.read(num_bytes)


def read_archive(archive: Path, *, strict: bool) -> Generator[Member, None, None]:
    """Read the files of a .tar or .tar.gz in the order they are stored, showing how far it is.

    strict: whether it must end as tar does, with a block of zeros; without one it may have been cut
        between two files.

    Raises:
        UserError: it is no such archive, is cut short or damaged, or has a name that leads out of
            it, a link or a device.
    """
    with open_shown(archive, "reading") as raw:
        with _naming(str(archive)):
            is_gzip = raw.read(2) == GZIP_MAGIC
            raw.seek(0)
        file: _Readable = gzip.GzipFile(fileobj=raw) if is_gzip else raw
        yield from _members(file, str(archive), strict=strict)
        with _naming(str(archive)):
            while file.read(2**20):  # to where gzip compares its checksum
                pass


def read_nested(member: Member, archive: Path, *, strict: bool) -> Iterator[Member]:
    """Read the files of an archive in an archive; the rest as in `read_archive`."""
    return _members(member, f"{member.path} in {archive}", strict=strict)


def unpack(archive: Path, names: Mapping[str, str], folder: Path, *, strict: bool) -> None:
    """Write the files that are wanted into a folder.

    names: of each wanted file, without its folders, the one to write it by.

    Raises:
        UserError: as `read_archive`, or there are two of a file.
    """
    for member in read_archive(archive, strict=strict):
        if name := names.get(member.path.name):
            write_member(member, folder / name, archive)


def write_member(member: Member, path: Path, archive: Path) -> None:
    """Write a file of an archive to disk.

    Raises:
        UserError: it is there already, and not the same; or the archive is damaged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        if member.read() != path.read_bytes():
            raise UserError(f"{archive} has another '{member.path}' than there was before it")
        return
    with path.open("xb") as file:
        shutil.copyfileobj(member, file, 2**20)


def _members(file: _Readable, archive: str, *, strict: bool) -> Iterator[Member]:
    kind = _Strict if strict else tarfile.TarInfo
    with ExitStack() as stack:
        with _naming(archive):
            tar = stack.enter_context(
                tarfile.open(fileobj=cast(IO[bytes], file), mode="r|", tarinfo=kind)
            )
        while True:
            with _naming(archive):
                info = tar.next()
            if info is None:
                return
            path = _safe_path(info, archive)
            if info.isfile():
                with _naming(archive):
                    content = tar.extractfile(info)
                assert content is not None
                yield Member(path, info.size, content, archive)


def _safe_path(info: tarfile.TarInfo, archive: str) -> PurePosixPath:
    path = PurePosixPath(info.name)
    if not info.name.isprintable() or info.size < 0 or (info.isfile() and not path.parts):
        raise UserError(f"{archive} is refused: {info.name!r} in it cannot be the name of a file")
    if path.is_absolute() or ".." in path.parts or "\\" in info.name:
        raise UserError(f"{archive} is refused: '{info.name}' in it leads out of its folder")
    if info.issparse() or info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE):
        raise UserError(f"{archive} is refused: '{info.name}' in it is a link or a device")
    return path


@contextmanager
def _naming(archive: str) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{archive} is truncated or damaged, or is no tar archive: download or copy it again "
            f"({reason})"
        ) from error


class _Strict(tarfile.TarInfo):
    """Takes nothing but a block of zeros for the end; tarfile is content with less."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Strict":
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if len(buf) == tarfile.BLOCKSIZE and not any(buf):
                raise
            raise tarfile.ReadError(str(error)) from error
