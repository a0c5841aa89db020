"""Callbacks are sent to the callback URL of an export, on this machine only."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from airflow_provider_flowroute.simulator import FlowrouteSimulator
from tests.simulator.user import User
from tests.support import wait_until

Received = list[tuple[dict[str, str], str]]


class Listener(HTTPServer):
    """A receiver of callbacks.

    ``statuses`` are the next answers; after them, the answer is 200.
    """

    received: Received
    statuses: list[int]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"


@pytest.fixture
def listener() -> Iterator[Listener]:
    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            server.received.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(server.statuses.pop(0) if server.statuses else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with Listener(("127.0.0.1", 0), Hook) as server:
        server.received, server.statuses = [], []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def attributes_of(body: str) -> dict[str, Any]:
    attributes: dict[str, Any] = json.loads(body)["data"]["attributes"]
    return attributes


@pytest.mark.flowroute(processing_seconds=0.1)
def test_callback_is_sent_without_a_status_request(
    listener: Listener, flowroute: FlowrouteSimulator, user: User
) -> None:
    export_id = user.create(callback_url=listener.url)
    wait_until(lambda: flowroute.callbacks)
    [(headers, text)] = listener.received
    body = json.loads(text)
    assert headers["user-agent"] == "Go-http-client/1.1"
    assert headers["content-type"] == "application/json"
    assert body["data"]["attributes"]["resource_id"] == export_id
    [sent] = flowroute.callbacks
    assert (sent.url, sent.payload, sent.status, sent.error) == (listener.url, body, 200, None)
    assert {request.on for request in flowroute.requests} == {"create"}


def test_callback_has_the_published_envelope(listener: Listener, user: User) -> None:
    export_id = user.create(callback_url=listener.url)
    wait_until(lambda: listener.received)
    data = json.loads(listener.received[0][1])["data"]
    attributes = data["attributes"]
    assert set(data) == {"attributes", "id", "type", "timestamp"}
    assert data["type"] == "cdrexport_status_change"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", data["timestamp"])
    assert attributes["at"] == attributes["timestamp"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00", attributes.pop("at"))
    assert attributes.pop("timestamp")
    assert re.fullmatch("[0-9a-f]{32}", attributes.pop("customer_id"))
    assert attributes == {
        "event_type": "status_change",
        "id": data["id"],
        "message": f"CDR Export #{export_id} is completed.",
        "resource_id": export_id,
        "resource_type": "cdrexports",
        "status": "completed",
        "type": "event",
        "url_override": listener.url,
        "version": "1.0",
    }


@pytest.mark.flowroute(callback_retry_seconds=0.1)
@pytest.mark.parametrize(
    ("answers", "sent"),
    [([503, 404], [503, 404, 200]), ([204], [204, 200]), ([500] * 6, [500] * 5)],
    ids=["two errors", "another 2xx", "always an error"],
)
def test_callback_is_repeated_until_the_answer_is_200(
    listener: Listener, user: User, answers: list[int], sent: list[int]
) -> None:
    """Repeat it up to four times, with the same body."""
    listener.statuses = answers
    start = time.monotonic()
    user.create(callback_url=listener.url)
    wait_until(lambda: len(user.flowroute.callbacks) == len(sent))
    assert time.monotonic() - start >= 0.1 * (len(sent) - 1)
    assert [callback.status for callback in user.flowroute.callbacks] == sent
    assert_no_more_callbacks(user, len(sent))
    assert len({body for _, body in listener.received}) == 1


def assert_no_more_callbacks(user: User, count: int) -> None:
    """Wait for the callback of another export, which is later than a repetition would be."""
    url = "http://127.0.0.1:1/later"
    user.create(callback_url=url)
    wait_until(lambda: sum(callback.url == url for callback in user.flowroute.callbacks) >= 2)
    assert sum(callback.url != url for callback in user.flowroute.callbacks) == count


@pytest.mark.flowroute(callback_retries=1, callback_retry_seconds=0)
def test_number_of_callback_retries_can_be_set(listener: Listener, user: User) -> None:
    listener.statuses = [500, 500, 500]
    user.create(callback_url=listener.url)
    wait_until(lambda: len(user.flowroute.callbacks) == 2)
    assert len(listener.statuses) == 1


@pytest.mark.flowroute(callback_retry_seconds=0)
@pytest.mark.parametrize("fault", ["retried_callback", "duplicate_callback"])
def test_fault_sends_a_callback_twice_though_the_answer_is_200(
    listener: Listener, user: User, fault: str
) -> None:
    user.flowroute.add_fault(fault)
    user.create(callback_url=listener.url)
    wait_until(lambda: len(user.flowroute.callbacks) == 2)
    user.create(callback_url=listener.url)
    wait_until(lambda: len(user.flowroute.callbacks) == 3)
    first, second, other = (json.loads(body)["data"]["id"] for _, body in listener.received)
    assert first == second != other
    assert [callback.status for callback in user.flowroute.callbacks] == [200, 200, 200]


@pytest.mark.flowroute(callback_retry_seconds=0)
def test_garbled_callback_is_not_json_and_its_repetition_is(listener: Listener, user: User) -> None:
    user.flowroute.add_fault("garbled_callback")
    listener.statuses = [400]
    user.create(callback_url=listener.url)
    wait_until(lambda: len(user.flowroute.callbacks) == 2)
    garbled, repeated = user.flowroute.callbacks
    assert [body for _, body in listener.received] == [garbled.body, repeated.body]
    with pytest.raises(json.JSONDecodeError):
        json.loads(garbled.body)
    assert json.loads(repeated.body) == repeated.payload == garbled.payload


@pytest.mark.flowroute(callback_retry_seconds=0.2)
def test_reset_ends_the_repetition_of_callbacks(listener: Listener, user: User) -> None:
    listener.statuses = [500]
    user.create(callback_url=listener.url)
    wait_until(lambda: user.flowroute.callbacks)
    user.flowroute.reset()
    assert_no_more_callbacks(user, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"callback_retries": -1}, "callback_retries must be a number of 0 or more, not -1"),
        ({"callback_retry_seconds": -0.5}, "callback_retry_seconds must be a number of 0 or more, not -0.5"),
        (
            {"callback_url_echo": "none"},
            "(?s)no callback_url_echo 'none'.*exact, trailing_slash, escaped, null",
        ),
    ],
)
def test_invalid_callback_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FlowrouteSimulator(**options)


@pytest.mark.flowroute(processing_seconds=float("inf"))
def test_failed_export_sends_one_callback(
    listener: Listener, flowroute: FlowrouteSimulator, user: User
) -> None:
    export_id = user.create(callback_url=listener.url)
    flowroute.fail(export_id)
    wait_until(lambda: flowroute.callbacks)
    user.status(export_id)
    assert [attributes_of(body)["status"] for _, body in listener.received] == ["failed"]
    assert user.status(export_id)["callback_url"] == listener.url


def test_unknown_status_sends_no_callback(
    listener: Listener, flowroute: FlowrouteSimulator, user: User
) -> None:
    flowroute.add_fault("unknown_status")
    user.status(user.create(callback_url=listener.url))
    user.status(user.create(callback_url=listener.url))
    wait_until(lambda: flowroute.callbacks)
    assert [attributes_of(body)["status"] for _, body in listener.received] == ["completed"]


@pytest.mark.parametrize("url", ["https://flowroute.example/hook", "http://10.0.0.1/", "http://[::1/hook"])
def test_callback_to_another_machine_is_not_sent(flowroute: FlowrouteSimulator, user: User, url: str) -> None:
    user.status(user.create(callback_url=url))
    wait_until(lambda: flowroute.callbacks)
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
    wait_until(lambda: flowroute.callbacks)
    [callback] = flowroute.callbacks
    assert callback.status is None
    assert callback.error
    assert user.status(export_id)["status"] == "completed"
