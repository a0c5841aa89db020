"""Callbacks are sent to the callback URL of an export, on this machine only."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from airflow_provider_flowroute.simulator import FlowrouteSimulator
from tests.simulator.user import User, until

Received = list[tuple[dict[str, str], dict[str, Any]]]


class Listener(HTTPServer):
    received: Received

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"


@pytest.fixture
def listener() -> Iterator[Listener]:
    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.received.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with Listener(("127.0.0.1", 0), Hook) as server:
        server.received = []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.flowroute(processing_seconds=0.1)
def test_callback_is_sent_without_a_status_request(
    listener: Listener, flowroute: FlowrouteSimulator, user: User
) -> None:
    export_id = user.create(callback_url=listener.url)
    until(lambda: flowroute.callbacks)
    [(headers, body)] = listener.received
    assert headers["user-agent"] == "Go-http-client/1.1"
    assert headers["content-type"] == "application/json"
    attributes = body["data"]["attributes"]
    assert set(attributes) == {"event_type", "resource_id", "resource_type", "status", "timestamp"}
    assert (attributes["resource_id"], attributes["status"]) == (export_id, "completed")
    [sent] = flowroute.callbacks
    assert (sent.url, sent.payload, sent.status, sent.error) == (listener.url, body, 204, None)
    assert {request.on for request in flowroute.requests} == {"create"}


@pytest.mark.flowroute(processing_seconds=float("inf"))
def test_failed_export_sends_one_callback(
    listener: Listener, flowroute: FlowrouteSimulator, user: User
) -> None:
    export_id = user.create(callback_url=listener.url)
    flowroute.fail(export_id)
    until(lambda: flowroute.callbacks)
    user.status(export_id)
    assert [body["data"]["attributes"]["status"] for _, body in listener.received] == ["failed"]
    assert user.status(export_id)["callback_url"] == listener.url


def test_unknown_status_sends_no_callback(
    listener: Listener, flowroute: FlowrouteSimulator, user: User
) -> None:
    flowroute.add_fault("unknown_status")
    user.status(user.create(callback_url=listener.url))
    user.status(user.create(callback_url=listener.url))
    until(lambda: flowroute.callbacks)
    assert [body["data"]["attributes"]["status"] for _, body in listener.received] == ["completed"]


@pytest.mark.parametrize("url", ["https://flowroute.example/hook", "http://10.0.0.1/", "http://[::1/hook"])
def test_callback_to_another_machine_is_not_sent(flowroute: FlowrouteSimulator, user: User, url: str) -> None:
    user.status(user.create(callback_url=url))
    until(lambda: flowroute.callbacks)
    [callback] = flowroute.callbacks
    assert callback.url == url
    assert (callback.status, callback.error) == (
        None,
        "Not sent: the simulator only sends callbacks to this machine.",
    )


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/hook", "http://localhost:99999/hook"])
def test_callback_without_an_answer_is_recorded(flowroute: FlowrouteSimulator, user: User, url: str) -> None:
    """The export completes anyway."""

    export_id = user.create(callback_url=url)
    until(lambda: flowroute.callbacks)
    [callback] = flowroute.callbacks
    assert callback.status is None
    assert callback.error
    assert user.status(export_id)["status"] == "completed"
