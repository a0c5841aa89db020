"""Serve the API and the storage in a process of their own, so that their cost is in no figure."""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from generate import START, Made

from airflow_provider_flowroute.cdr.window import Window, format_instant

_PIECE = 128 * 1024


class Handler(BaseHTTPRequestHandler):
    """``/v2/cdrs/exports/ROWS`` is an export, ``/RATE/ROWS`` its file at RATE bytes a second (0: unlimited)."""

    protocol_version = "HTTP/1.1"
    directory: Path
    rate = 0

    def do_GET(self) -> None:
        """Answer a request."""
        kind, _, name = self.path.removeprefix("/").rpartition("/")
        if kind.startswith("v2"):
            self._describe(name)
        else:
            self._send(self.directory / f"{name}.csv.gz", int(kind))

    def _describe(self, name: str) -> None:
        rate, _, rows = name.partition("-")
        made = Made(**json.loads((self.directory / f"{rows}.json").read_text()))
        window = Window(START, START + timedelta(days=made.days))
        attributes = {
            "status": "completed",
            "num_calls": made.rows,
            "total_cost": f"{float(made.total_cost):.6f}",
            "download_url": f"http://{self.headers['Host']}/{rate}/{rows}",
            "filter_parameters": {
                "start_call_start_time": format_instant(window.start),
                "start_call_end_time": format_instant(window.end),
            },
        }
        body = json.dumps({"data": {"id": name, "attributes": attributes}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send(self, path: Path, rate: int) -> None:
        size = path.stat().st_size
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        self.wfile.flush()
        started, sent = time.monotonic(), 0
        with path.open("rb") as file:
            while sent < size:
                sent += os.sendfile(self.connection.fileno(), file.fileno(), sent, _PIECE if rate else size)
                if rate:
                    time.sleep(max(0.0, started + sent / rate - time.monotonic()))

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


if __name__ == "__main__":
    Handler.directory = Path(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()
