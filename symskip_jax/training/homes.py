"""Where a run lives: in a folder; or on Cloud Storage, with a folder of this host in between."""

import logging
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from symskip_jax.data.gcs import answering, is_bucket
from symskip_jax.data.paths import cache_folder
from symskip_jax.errors import ReadFailedError, UserError
from symskip_jax.training.processes import is_first

log = logging.getLogger(__name__)

# What a run that goes on must find again; its checkpoints never leave the bucket.
_FETCHED = ("config.json", "metrics.jsonl", "status.json")
# Of all processes; the rest is of process 0.
_OF_EACH = ("stacks", "profile")
_LOCK = "lock"


class Home:
    """Where a run lives.

    Attributes:
        address: as given.
        folder: on this host: the log and all that is small is written there.
    """

    def __init__(self, address: Path, folder: Path) -> None:
        """Describes it; nothing is made."""
        self.address, self.folder = address, folder

    @property
    def checkpoints(self) -> Path:
        """Where they are written, by all processes."""
        return self.address / "checkpoints"

    def fetch(self) -> None:
        """Brings what a run that goes on must find to its folder."""

    def publish(self) -> None:
        """Takes what is new in its folder to where it lives; what fails is tried the next time."""


class BucketHome(Home):
    """A run at gs://BUCKET/PATH."""

    def __init__(self, address: Path) -> None:
        """Describes it; its folder is below $XDG_CACHE_HOME/symskip_jax/runs."""
        super().__init__(address, cache_folder() / "runs" / quote(str(address), safe=""))
        self._published: dict[Path, tuple[int, int]] = {}
        self._turn = threading.Lock()

    def fetch(self) -> None:
        """As above. What an earlier start left in the folder is not what the bucket has.

        Raises:
            UserError: access is denied.
            ReadFailedError: the bucket did not answer.
        """
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != _LOCK:
                path.unlink()
        with answering(self.address):
            for name in _FETCHED:
                if (self.address / name).exists():
                    (self.folder / name).write_bytes((self.address / name).read_bytes())
        self._published = {path: _version(path) for path in self._files()}

    def publish(self) -> None:
        """As above."""
        with self._turn:
            for path in self._files():
                try:
                    version = _version(path)
                    if self._published.get(path) == version:
                        continue
                    target = self.address / path.relative_to(self.folder).as_posix()
                    with answering(self.address):
                        target.write_bytes(path.read_bytes())
                    self._published[path] = version
                except (OSError, UserError, ReadFailedError) as error:
                    log.warning("%s could not be written (%s); later", self.address, error)
                    return

    def _files(self) -> Sequence[Path]:
        places = [self.folder] if is_first() else [self.folder / it for it in _OF_EACH]
        found = [path for it in places for path in sorted(it.rglob("*")) if path.is_file()]
        return [it for it in found if it.name != _LOCK and it.suffix != ".partial"]


def home_of(workdir: Path) -> Home:
    """Returns where a run lives.

    Args:
        workdir: a folder, or what `symskip_jax.data.gcs.bucket_folder` makes of an address.
    """
    return BucketHome(workdir) if is_bucket(workdir) else Home(workdir, workdir)


def _version(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns
