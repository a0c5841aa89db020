"""Serve an account with many exports in a process of its own: its CPU time and threads count for nothing.

Reads one JSON line: ``exports`` (how many), ``latency`` (seconds), ``hung``, and ``completed_at`` (by ID, epoch).
Writes its port.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

EXPORTS = "/v2/cdrs/exports"
#: Where the benchmark reads how many requests were sent.
COUNT = "/count"


class Handler(BaseHTTPRequestHandler):
    """Answer as Flowroute does, with the latency of a real network."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    exports: int
    latency: float
    hung: bool
    completed_at: dict[str, float]
    requests = 0

    def do_GET(self) -> None:
        """Answer a request."""
        url = urlsplit(self.path)
        if url.path == COUNT:
            self._send(200, Handler.requests)
            return
        Handler.requests += 1
        time.sleep(86_400 if self.hung else self.latency)
        export_id = url.path.removeprefix(EXPORTS).strip("/")
        if export_id:
            self._send(200, {"data": self._resource(export_id)})
            return
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        exports = (self._resource(str(number)) for number in range(self.exports, 0, -1))
        wanted = [
            export for export in exports if query.get("status") in (None, export["attributes"]["status"])
        ]
        page = wanted[int(query["offset"]) :][: int(query["limit"])]
        self._send(200, {"data": [{"data": export} for export in page]})

    def _resource(self, export_id: str) -> dict[str, Any]:
        completed = time.time() >= self.completed_at.get(export_id, float("inf"))
        attributes = {
            "callback_url": None,
            "status": "completed" if completed else "processing",
            "download_url": "https://cdrs.s3.amazonaws.com/file.gz?X-Amz-Signature=1" if completed else None,
            "requested_at": "2026-11-24T00:00:00+00:00",
            "created_at": "2026-11-24T00:00:00+00:00",
            "expires_at": None,
            "total_cost": "34.321300" if completed else None,
            "num_calls": 249 if completed else None,
            "billed_minutes": "112.100000" if completed else None,
            "filter_parameters": {
                "start_call_start_time": "2026-11-23T00:00:00+00:00",
                "start_call_end_time": "2026-11-24T00:00:00+00:00",
                "direction": "inbound",
            },
        }
        return {"type": "cdrexport", "id": int(export_id), "attributes": attributes}

    def _send(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


class Server(ThreadingHTTPServer):
    """A server whose threads end with it."""

    daemon_threads = True
    request_queue_size = socket.SOMAXCONN


if __name__ == "__main__":
    for name, value in json.loads(sys.stdin.readline()).items():
        setattr(Handler, name, value)
    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()  # until the benchmark closes the pipe
