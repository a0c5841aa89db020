"""What several test modules use: a client, an export to ask for, and a server for what the simulator does not do."""

from __future__ import annotations

import io
import json
import socket
import ssl
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from airflow_provider_flowroute.api.client import FlowrouteClient
from airflow_provider_flowroute.cdr.export import CdrExport
from airflow_provider_flowroute.simulator import FlowrouteSimulator

SECRET_KEY = "the-secret-key"
PARAMETERS = {
    "start_call_start_time": "2026-03-02 00:00:00",
    "start_call_end_time": "2026-03-03 00:00:00",
}


def client_of(flowroute: FlowrouteSimulator, **options: Any) -> FlowrouteClient:
    """A client for a simulated account, called ``my_flowroute``."""
    keys = flowroute.access_key, flowroute.secret_key
    return client_at(flowroute.url, *keys, **options)


def client_at(url: str, *keys: str, **options: Any) -> FlowrouteClient:
    """A client for an API at any address."""
    access_key, secret_key = keys or ("the-access-key", SECRET_KEY)
    patience = {"connect_timeout": 5, "read_timeout": 5, "retries": 3}
    return FlowrouteClient(access_key, secret_key, url, name="my_flowroute", **{**patience, **options})


def read_file(client: FlowrouteClient, export: CdrExport) -> bytes:
    """Return an export's gzip file."""
    target = io.BytesIO()
    with client.open_cdr_export(export) as stream:
        assert stream.copy_to(target) == len(target.getvalue())
    return target.getvalue()


class FakeClock:
    """A client's clock: records each delay and waits for none.

    ``during`` is called in each delay.
    """

    def __init__(self) -> None:
        self.delays: list[float] = []
        self.now = 0.0
        self.during: Callable[[float], Any] = lambda seconds: None

    def sleep(self, seconds: float) -> None:
        self.delays.append(seconds)
        self.now += seconds
        self.during(seconds)

    def monotonic(self) -> float:
        return self.now


class Answer(BaseHTTPRequestHandler):
    """A request to a :class:`TinyServer`, and how to answer it."""

    protocol_version = "HTTP/1.1"

    def send(self, status: int, body: bytes | str | dict[str, Any] | list[Any] = b"", **headers: str) -> None:
        """Answer; a header's name is written with ``_`` for ``-``."""
        content = json.dumps(body) if isinstance(body, dict | list) else body
        content = content.encode() if isinstance(content, str) else content
        self.send_response(status)
        for name, value in {"Content_Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def hang_up(self) -> None:
        """Close the connection, mid-answer or before any."""
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@dataclass
class TinyServer:
    """A server on loopback that records what it was asked."""

    url: str
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    @property
    def headers(self) -> list[dict[str, str]]:
        """The headers of each request, names in lower case."""
        return [headers for _, _, headers in self.requests]


@contextmanager
def serving(answer: Callable[[Answer], None], tls: ssl.SSLContext | None = None) -> Iterator[TinyServer]:
    """Serve whatever ``answer`` makes of each request."""

    class Handler(Answer):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            server.requests.append((self.command, self.path, {**headers, "(body)": body.decode()}))
            answer(self)

        do_GET = do_POST = do_CONNECT = handle_any  # noqa: N815

    class Http(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Clients that hang up are nothing to report."""

    http = Http(("127.0.0.1", 0), Handler)
    if tls is not None:
        http.socket = tls.wrap_socket(http.socket, server_side=True)
    server = TinyServer(f"http{'s' if tls else ''}://127.0.0.1:{http.server_address[1]}")
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


@contextmanager
def serving_export(file: bytes, **attributes: Any) -> Iterator[TinyServer]:
    """An account with one completed export, ``1``, of a day in 2019, whose file is any bytes at all."""

    def answer(request: Answer) -> None:
        if request.path == "/file":
            request.send(200, file)
        else:
            told = {
                "status": "completed",
                "download_url": f"{server.url}/file",
                "filter_parameters": {
                    "start_call_start_time": "2019-06-25 00:00:00",
                    "start_call_end_time": "2019-06-26 00:00:00",
                },
            }
            request.send(200, {"data": {"id": "1", "attributes": {**told, **attributes}}})

    with serving(answer) as server:
        yield server


def connection_json(url: str) -> str:
    """The Airflow connection to an account at this address."""
    return json.dumps({"conn_type": "flowroute", "login": "key", "password": SECRET_KEY, "host": url})


class TaskStateStore:
    """Airflow 3.3's store for one task, as an operator sees it: JSON, and never None."""

    def __init__(self, value: Any = None) -> None:
        self.value = value

    def get(self, key: str, default: Any = None) -> Any:
        return default if self.value is None else json.loads(json.dumps(self.value))

    def set(self, key: str, value: Any) -> None:
        if value is None:
            raise ValueError("Cannot set value as None")
        self.value = json.loads(json.dumps(value))

    def delete(self, key: str) -> None:
        self.value = None


def a_closed_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def all_words_of(error: BaseException) -> str:
    """Whatever of an error may reach a log: its own words, and those of all it is chained to, shown or not."""
    words, seen, todo = "", set(), [error]
    while todo:
        each = todo.pop()
        if id(each) not in seen:
            seen.add(id(each))
            words += "".join(traceback.format_exception(each)) + repr(each) + repr(each.args)
            todo += [other for other in (each.__cause__, each.__context__) if other is not None]
    return words


def assert_untouched(target: Path) -> None:
    """The old file is there as it was, and nothing beside it."""
    assert target.read_bytes() == b"yesterday's"
    assert list(target.parent.iterdir()) == [target]


def options_of(hook: Any) -> dict[str, Any]:
    """What a connection made of its client."""
    client = hook.get_conn()
    return {
        "keys": (client._api.auth.username, client._api.auth.password),  # type: ignore[union-attr]
        "base_url": client.base_url,
        "name": client.name,
        "timeout": client._timeout,
        "retries": client._retries,
        "proxies": client._proxies,
        "verify": client._verify,
        "download_hosts": client.download_hosts,
    }
