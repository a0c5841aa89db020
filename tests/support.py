"""Helpers of several test modules: clients, a fake HTTP server for odd answers, and one way to wait."""

from __future__ import annotations

import io
import json
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

from airflow_provider_flowroute.api.client import FlowrouteClient
from airflow_provider_flowroute.cdr.export import CdrExport
from airflow_provider_flowroute.simulator import FlowrouteSimulator

T = TypeVar("T")

SECRET_KEY = "the-secret-key"
PARAMETERS = {
    "start_call_start_time": "2026-03-02 00:00:00",
    "start_call_end_time": "2026-03-03 00:00:00",
}


def wait_until(
    condition: Callable[[], T],
    seconds: float = 30,
    what: str = "the condition is true",
    interval: float = 0.01,
) -> T:
    """Poll until a condition is true, and return its value.

    :param condition: called until its value is true.
    :param seconds: time in seconds after which the test fails.
    :param what: describes the condition in the failure.
    :param interval: time in seconds between two calls.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"Not within {seconds:g} s: {what}. Last value: {value!r}"
        time.sleep(interval)
    return value


def client_of(flowroute: FlowrouteSimulator, **options: Any) -> FlowrouteClient:
    """Return a client for a simulated account; its name is ``my_flowroute``."""
    keys = flowroute.access_key, flowroute.secret_key
    return client_at(flowroute.url, *keys, **options)


def client_at(url: str, *keys: str, **options: Any) -> FlowrouteClient:
    """Return a client for an API at any address."""
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
    """A request to a :class:`TinyServer`, with the methods that answer it."""

    protocol_version = "HTTP/1.1"

    def send(self, status: int, body: bytes | str | dict[str, Any] | list[Any] = b"", **headers: str) -> None:
        """Answer. A keyword is a header, with ``_`` in place of ``-``."""
        content = json.dumps(body) if isinstance(body, dict | list) else body
        content = content.encode() if isinstance(content, str) else content
        self.send_response(status)
        for name, value in {"Content_Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def hang_up(self) -> None:
        """Close the connection before or in the middle of an answer."""
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@dataclass
class TinyServer:
    """A server on loopback that records its requests."""

    url: str
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    @property
    def headers(self) -> list[dict[str, str]]:
        """Headers of each request, with names in lower case."""
        return [headers for _, _, headers in self.requests]


@contextmanager
def serving(answer: Callable[[Answer], None], tls: ssl.SSLContext | None = None) -> Iterator[TinyServer]:
    """Run a server that calls ``answer`` with each request."""

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
            """Ignore clients that close their connection."""

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
    """Run an account with one completed export, ``1``, of a day in 2019.

    :param file: the bytes that the export's link returns.
    :param attributes: attributes of the export that replace the defaults.
    """

    def answer(request: Answer) -> None:
        if request.path == "/file":
            request.send(200, file)
        else:
            defaults = {
                "status": "completed",
                "download_url": f"{server.url}/file",
                "filter_parameters": {
                    "start_call_start_time": "2019-06-25 00:00:00",
                    "start_call_end_time": "2019-06-26 00:00:00",
                },
            }
            request.send(200, {"data": {"id": "1", "attributes": {**defaults, **attributes}}})

    with serving(answer) as server:
        yield server


def connection_json(url: str) -> str:
    """Return the Airflow connection to an account at this address."""
    return json.dumps({"conn_type": "flowroute", "login": "key", "password": SECRET_KEY, "host": url})


class TaskStateStore:
    """The store that Airflow 3.3 gives to a task: it keeps JSON and refuses None."""

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
    """Return a port of this machine that no process listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def all_words_of(error: BaseException) -> str:
    """Return every text of an error that may reach a log, and of each error in its chain, shown or not."""
    text, seen, pending = "", set(), [error]
    while pending:
        current = pending.pop()
        if id(current) not in seen:
            seen.add(id(current))
            text += "".join(traceback.format_exception(current)) + repr(current) + repr(current.args)
            pending += [linked for linked in (current.__cause__, current.__context__) if linked is not None]
    return text


def options_of(hook: Any) -> dict[str, Any]:
    """Return the options of the client that a hook makes from its connection."""
    client = hook.get_conn()
    return {
        "keys": (client._api.auth.username, client._api.auth.password),
        "base_url": client.base_url,
        "name": client.name,
        "timeout": client._timeout,
        "retries": client._retries,
        "proxies": client._proxies,
        "verify": client._verify,
        "download_hosts": client.download_hosts,
    }
