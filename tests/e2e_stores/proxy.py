"""An HTTP proxy in front of an object store: it records requests, and can refuse or hold some of them."""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

NOTHING = "(?!)"
#: What belongs to one connection and must not be forwarded.
HOP_BY_HOP = ("connection", "content-length", "date", "server", "transfer-encoding")


@dataclass(frozen=True)
class Refusal:
    """An answer that the proxy gives in place of the store."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Proxy:
    """Forwards requests to a store.

    A request is matched as ``METHOD PATH RANGE``, where ``RANGE`` is its ``Content-Range``.
    """

    store_port: int
    port: int = 0
    #: The matching requests get ``refusal``: as many as ``refusals``, or all if that is None.
    refuse: str = NOTHING
    refusal: Refusal = Refusal(403)
    refusals: int | None = None
    #: The matching requests wait for ``release``.
    hold: str = NOTHING
    held: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)
    seen: list[str] = field(default_factory=list)

    def refuses(self, line: str) -> bool:
        if not re.search(self.refuse, line) or self.refusals == 0:
            return False
        if self.refusals is not None:
            self.refusals -= 1
        return True

    def forward(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Refusal:
        connection = http.client.HTTPConnection("127.0.0.1", self.store_port)
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        answer = Refusal(response.status, response.read(), dict(response.getheaders()))
        connection.close()
        return answer

    def seen_of(self, pattern: str) -> list[str]:
        return [line for line in self.seen if re.search(pattern, line)]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def handle_any(self) -> None:
        proxy: Proxy = self.server.proxy  # type: ignore[attr-defined]
        body = self.read_body()
        line = f"{self.command} {self.path} {self.headers.get('Content-Range', '')}"
        proxy.seen.append(line)
        if proxy.refuses(line):
            answer = proxy.refusal
        else:
            if re.search(proxy.hold, line):
                proxy.held.set()
                proxy.release.wait(60)
            headers = {k: v for k, v in self.headers.items() if k.lower() != "transfer-encoding"}
            answer = proxy.forward(
                self.command, self.path, body, {**headers, "Content-Length": str(len(body))}
            )
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            if name.lower() == "location":  # the session of a resumable upload
                value = re.sub("https?://[^/]+", f"http://127.0.0.1:{proxy.port}", value)
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        is_head = self.command == "HEAD"
        lengths = [value for name, value in answer.headers.items() if name.lower() == "content-length"]
        self.send_header("Content-Length", lengths[0] if is_head and lengths else str(len(answer.body)))
        self.end_headers()
        self.wfile.write(b"" if is_head else answer.body)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that a test kills."""


@contextmanager
def proxy_for(store_port: int) -> Iterator[Proxy]:
    """Run a proxy on a free port."""
    server = Server(("127.0.0.1", 0), Handler)
    proxy = Proxy(store_port, server.server_address[1])
    server.proxy = proxy  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield proxy
    proxy.release.set()
    server.shutdown()
    server.server_close()
