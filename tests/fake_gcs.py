"""A folder served as a bucket of Google Cloud Storage, as far as gcsfs and ArrayRecord ask."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

BUCKET = "pictures"

# /storage/v1/b/BUCKET/o[/OBJECT] describes, lists, deletes and (alt=media) reads; /download/...
# reads, /upload/... writes.
API = re.compile(
    r"(?P<kind>/download|/upload/resumable|/upload)?/storage/v1/b/(?P<bucket>[^/]+)"
    r"(/o(/(?P<object>[^/]*)(?P<rewrite>/rewriteTo/b/[^/]+/o/(?P<target>.*))?)?)?"
)


class FakeGcs:
    """What the server is asked and how it answers.

    requests: the method and path of each request.
    status: answered in the place of whatever was asked for, where it is not 200.
    status_of_records: the same for ArrayRecord files alone.
    before_write: called with an object's name and content; while it lasts, no answer is given.
    environment: the variables that turn a process to this server.
    """

    def __init__(self, root: Path, port: int):
        self.root = root
        self.status = self.status_of_records = 200
        self.requests: list[str] = []
        self.before_write: Callable[[str, bytes], object] = lambda name, content: None
        self.environment = environment(port)
        # Of each object its version, as conditional writes ask for it; 1 of what was there before.
        self.generations: dict[str, int] = {}
        self.lock = threading.Lock()
        self.uploads: dict[str, tuple[str, bytearray]] = {}

    def generation(self, name: str) -> int:
        """Returns the version of an object, 0 where there is none."""
        return self.generations.get(name, 1) if (self.root / name).is_file() else 0

    def write(self, name: str, content: bytes, wanted: str | None) -> bool:
        """Writes an object, if its version is the one wanted, and says whether it did."""
        self.before_write(name, content)
        with self.lock:
            if wanted is not None and int(wanted) != self.generation(name):
                return False
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            self.generations[name] = max(self.generations.get(name, 1), 1) + 1
            path.write_bytes(content)
            return True

    def delete(self, name: str, wanted: str | None) -> int:
        """Deletes an object and returns the status of the answer."""
        with self.lock:
            if not self.generation(name):
                return 404
            if wanted is not None and int(wanted) != self.generation(name):
                return 412
            (self.root / name).unlink()
            return 204


def environment(port: int) -> dict[str, str]:
    """The variables that turn gcsfs, by us ArrayRecord, and TensorStore to this machine."""
    url = f"http://127.0.0.1:{port}"
    return {
        "STORAGE_EMULATOR_HOST": url,
        "TENSORSTORE_GCS_HTTP_URL": url,
        "GOOGLE_AUTH_TOKEN_FOR_TESTING": "none",
    }


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

    def handle(self) -> None:
        with suppress(ConnectionError):  # of a client that was killed
            super().handle()

    def do_GET(self) -> None:
        match, query = self._asked()
        if match is None:
            return
        if match["object"]:
            is_media = match["kind"] == "/download" or query.get("alt") == "media"
            self._object(unquote(match["object"]), is_media)
        else:
            self._send(200, json.dumps(self._list(**query)).encode())

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        match, query = self._asked()
        if match is None:
            return
        if match["target"]:
            source = self.gcs.root / unquote(match["object"])
            self._write(unquote(match["target"]), source.read_bytes(), query)
        elif "upload_id" in query:
            self._go_on(query["upload_id"], content)
        elif query.get("uploadType") == "resumable":
            name = query.get("name") or json.loads(content)["name"]
            self.gcs.uploads[name] = (name, bytearray())
            place = f"http://{self.headers['Host']}/upload/resumable/storage/v1/b/{BUCKET}/o"
            self._send(200, b"{}", {"Location": f"{place}?upload_id={quote(name, safe='')}"})
        elif query.get("uploadType") == "multipart":
            mark = self.headers["Content-Type"].split("boundary=")[1].strip("\"'").encode()
            _, about, data, _ = content.split(b"--" + mark)
            facts = json.loads(about.partition(b"\n\n")[2] or about.partition(b"\r\n\r\n")[2])
            head = b"\r\n\r\n" if b"\r\n\r\n" in data else b"\n\n"
            body = data.partition(head)[2]
            body = body.removesuffix(b"\r\n") if head == b"\r\n\r\n" else body.removesuffix(b"\n")
            self._write(facts["name"], body, query)
        else:
            self._write(query["name"], content, query)

    def _go_on(self, upload: str, content: bytes) -> None:
        name, received = self.gcs.uploads[upload]
        received += content
        extent = self.headers.get("Content-Range", "")
        if extent.endswith("/*") and extent != "bytes */*":
            self._send(308, b"", {"Range": f"bytes=0-{len(received) - 1}"})
        else:
            self._write(name, bytes(received), {})

    def do_DELETE(self) -> None:
        match, query = self._asked()
        if match is None:
            return
        status = self.gcs.delete(unquote(match["object"]), query.get("ifGenerationMatch"))
        if status == 204:
            self._send(204, b"")
        else:
            self._refuse(status)

    def _asked(self) -> tuple[re.Match[str] | None, dict[str, str]]:
        """Returns what is asked for; None where it was refused already."""
        self.gcs.requests.append(f"{self.command} {self.path}")
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        match = API.fullmatch(url.path)
        status = self.gcs.status_of_records if "array_record" in url.path else self.gcs.status
        if status != 200:
            self._refuse(status)
        elif not match or match["bucket"] != BUCKET:
            self._refuse(404)
        else:
            return match, query
        return None, query

    def _write(self, name: str, content: bytes, query: dict[str, str]) -> None:
        if not self.gcs.write(name, content, query.get("ifGenerationMatch")):
            self._refuse(412)
            return
        self._send(200, json.dumps(self._describe(name)).encode())

    def _object(self, name: str, is_media: bool) -> None:
        path = self.gcs.root / name
        if not path.is_file():
            self._refuse(404)
        elif is_media:
            self._media(path.read_bytes(), self.gcs.generation(name))
        else:
            self._send(200, json.dumps(self._describe(name)).encode())

    def _media(self, content: bytes, generation: int) -> None:
        version = {"x-goog-generation": str(generation)}
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if not wanted:
            self._send(200, content, version)
            return
        first, last = wanted.groups()
        start = int(first) if first else max(len(content) - int(last), 0)
        stop = min(int(last) + 1, len(content)) if first and last else len(content)
        if start >= len(content):
            self._refuse(416)
            return
        extent = f"bytes {start}-{stop - 1}/{len(content)}"
        self._send(206, content[start:stop], {"Content-Range": extent, **version})

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
                items.append(self._describe(name))
        return {"kind": "storage#objects", "items": items, "prefixes": sorted(folders)}

    def _describe(self, name: str) -> dict[str, str]:
        path = self.gcs.root / name
        generation = self.gcs.generation(name)
        return {
            "kind": "storage#object",
            "bucket": BUCKET,
            "name": name,
            "id": f"{BUCKET}/{name}/{generation}",
            "generation": str(generation),
            "size": str(path.stat().st_size),
            "timeCreated": "2026-01-01T00:00:00.000Z",
            "updated": "2026-01-01T00:00:00.000Z",
        }

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
