"""A local HTTP server for downloads: it breaks off, refuses and changes its content on request."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from unittest.mock import patch

BODY = bytes(range(256)) * 20_000  # 5 MB
SHA256 = hashlib.sha256(BODY).hexdigest()


@dataclass
class Server:
    """A local HTTP server: the content it serves, how it serves it, and the requests it got.

    Attributes:
        body: Content of each path that is not in ``files``.
        files: Content by file name.
        kind: Content type of its answers.
        resumes: Whether it can continue at a later byte.
        cut_at: Byte at which it breaks off; None sends all.
        ranges: Range header per request.
        sent: Number of bytes sent.
        url: Address of a file.
    """

    body: bytes = BODY
    files: dict[str, bytes] = field(default_factory=dict)
    etag: str = '"one"'
    kind: str = "application/octet-stream"
    status: int = 200
    resumes: bool = True
    cut_at: int | None = None
    ranges: list[str | None] = field(default_factory=list)
    sent: int = 0
    url: str = ""

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        body = self.files.get(request.path.rpartition("/")[2], self.body)
        asked = request.headers.get("Range")
        self.ranges.append(asked)
        begin = 0
        if asked and self.resumes and request.headers.get("If-Range") == self.etag:
            begin = int(asked.removeprefix("bytes=").removesuffix("-"))
        if begin and begin >= len(body):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(body)}")
            request.end_headers()
            return
        request.send_response(206 if begin else self.status)
        request.send_header("Content-Type", self.kind)
        request.send_header("Content-Length", str(len(body) - begin))
        request.send_header("ETag", self.etag)
        request.end_headers()
        rest = body[begin : self.cut_at]
        self.sent += len(rest)
        with suppress(ConnectionError):  # the client may have stopped reading
            request.wfile.write(rest)


@contextmanager
def serving() -> Iterator[Server]:
    """Runs a server on a free port of the loopback, which no proxy stands before."""
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.answer(self)

        def log_message(self, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{http.server_port}/weights/model.pth"
    Thread(target=http.serve_forever, daemon=True).start()
    try:
        with patch.dict(os.environ, no_proxy="127.0.0.1"):
            yield server
    finally:
        http.shutdown()
        http.server_close()
