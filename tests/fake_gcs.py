"""A folder served as a bucket of Google Cloud Storage, as far as gcsfs and ArrayRecord ask."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

BUCKET = "pictures"

# /storage/v1/b/BUCKET/o[/OBJECT] describes, lists and (alt=media) reads; /download/... reads.
API = re.compile(r"(?P<download>/download)?/storage/v1/b/(?P<bucket>[^/]+)(/o(/(?P<object>.*))?)?")


class FakeGcs:
    """What the server is asked and how it answers.

    requests: the method and path of each request.
    status: answered in the place of whatever was asked for, where it is not 200.
    status_of_records: the same for ArrayRecord files alone.
    environment: the variables that turn a process to this server.
    """

    def __init__(self, root: Path, port: int):
        self.root = root
        self.status = self.status_of_records = 200
        self.requests: list[str] = []
        self.environment = environment(port)


def environment(port: int) -> dict[str, str]:
    """The variable that turns gcsfs, and by us ArrayRecord, to a server on this machine."""
    return {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}"}


@contextmanager
def serve(root: Path) -> Iterator[FakeGcs]:
    """Serve the files of a folder as the objects of BUCKET."""

    class Bound(_Handler):
        pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
    Bound.gcs = FakeGcs(root, server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Bound.gcs
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    gcs: FakeGcs

    def do_GET(self) -> None:
        self.gcs.requests.append(f"GET {self.path}")
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        match = API.fullmatch(url.path)
        status = self.gcs.status_of_records if "array_record" in url.path else self.gcs.status
        if status != 200:
            self._refuse(status)
        elif not match or match["bucket"] != BUCKET:
            self._refuse(404)
        elif match["object"]:
            self._object(unquote(match["object"]), bool(match["download"]) or "alt" in query)
        else:
            self._send(200, json.dumps(self._list(**query)).encode())

    def _object(self, name: str, is_media: bool) -> None:
        path = self.gcs.root / name
        if not path.is_file():
            self._refuse(404)
        elif is_media:
            self._media(path.read_bytes())
        else:
            self._send(200, json.dumps(_describe(name, path)).encode())

    def _media(self, content: bytes) -> None:
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if not wanted:
            self._send(200, content)
            return
        first, last = wanted.groups()
        start = int(first) if first else max(len(content) - int(last), 0)
        stop = min(int(last) + 1, len(content)) if first and last else len(content)
        if start >= len(content):
            self._refuse(416)
            return
        extent = f"bytes {start}-{stop - 1}/{len(content)}"
        self._send(206, content[start:stop], {"Content-Range": extent})

    def _list(self, prefix: str = "", delimiter: str = "", **_: str) -> dict[str, object]:
        items, folders = [], set()
        for path in sorted(self.gcs.root.rglob("*")):
            name = path.relative_to(self.gcs.root).as_posix()
            if not path.is_file() or not name.startswith(prefix):
                continue
            head, found, _ = name[len(prefix) :].partition(delimiter or "\0")
            if found:
                folders.add(f"{prefix}{head}{delimiter}")
            else:
                items.append(_describe(name, path))
        return {"kind": "storage#objects", "items": items, "prefixes": sorted(folders)}

    def _refuse(self, status: int) -> None:
        error = {"code": status, "message": "the fake bucket refuses"}
        self._send(status, json.dumps({"error": error}).encode())

    def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        with suppress(ConnectionError):  # a client may leave before it has heard all
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


def _describe(name: str, path: Path) -> dict[str, str]:
    return {
        "kind": "storage#object",
        "bucket": BUCKET,
        "name": name,
        "id": f"{BUCKET}/{name}/1",
        "generation": "1",
        "size": str(path.stat().st_size),
        "timeCreated": "2026-01-01T00:00:00.000Z",
        "updated": "2026-01-01T00:00:00.000Z",
    }
