"""What the client sends, and how it reads Flowroute's answers."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from airflow_provider_flowroute import __version__
from airflow_provider_flowroute.api.client import FlowrouteClient
from airflow_provider_flowroute.cdr.export import CdrExport, ExportStatus
from airflow_provider_flowroute.cdr.request import same_request
from airflow_provider_flowroute.exceptions import (
    CdrExportFailedError,
    CdrExportUnknownStatusError,
    FlowrouteNotFoundError,
)
from airflow_provider_flowroute.simulator import FlowrouteSimulator
from tests.support import PARAMETERS, Answer, client_at, client_of, serving

FILTERS = {"number_aliases": ["Office 221", "Office 888"], "duration_greater_than": 60, "tollfree_only": True}
DONE = {"status": "completed"}


def a_resource(export_id: Any = "1", **attributes: Any) -> dict[str, Any]:
    return {"data": {"type": "cdrexport", "id": export_id, "attributes": attributes or DONE}}


def test_create_sends_window_filters_and_callback_url():
    with FlowrouteSimulator(processing_seconds=float("inf")) as flowroute:
        export = client_of(flowroute).create_cdr_export(PARAMETERS | FILTERS, "https://example.com/cdrs")

        (made,) = flowroute.exports
        (request,) = flowroute.requests
    assert export.id == made.id
    assert export.status is ExportStatus.PROCESSING
    assert made.filter_parameters == PARAMETERS | FILTERS
    assert made.callback_url == export.callback_url == "https://example.com/cdrs"
    assert (request.method, request.path, request.status) == ("POST", "/v2/cdrs/exports", 201)
    assert request.has_authorization
    assert request.headers["content-type"] == request.headers["accept"] == "application/vnd.api+json"
    assert request.headers["user-agent"] == f"airflow-provider-flowroute/{__version__}"


def test_no_callback_url_is_sent_if_none_is_given():
    with serving(lambda answer: answer.send(202, a_resource())) as server:
        client_at(server.url).create_cdr_export(PARAMETERS)

    assert json.loads(server.headers[0]["(body)"]) == {
        "data": {"type": "cdrexport", "attributes": {"filter_parameters": PARAMETERS}}
    }


@pytest.mark.parametrize("status", [200, 201, 202])
def test_every_2xx_means_that_the_export_was_created(status: int):
    with serving(lambda answer: answer.send(status, a_resource(38647))) as server:
        assert client_at(server.url).create_cdr_export(PARAMETERS).id == "38647"


def test_create_status_and_list_return_the_same_request(flowroute: FlowrouteSimulator):
    client = client_of(flowroute)
    created = client.create_cdr_export(PARAMETERS | FILTERS)
    read = client.get_cdr_export(created.id)
    (listed,) = client.list_cdr_exports()

    for export in (created, read, listed):
        assert export.id == created.id
        assert same_request(export.filter_parameters, PARAMETERS | FILTERS)
        assert str(export.window) == "2026-03-02 00:00:00 .. 2026-03-03 00:00:00 UTC"


def test_completed_export_has_its_totals(flowroute: FlowrouteSimulator):
    client = client_of(flowroute)
    export = client.get_cdr_export(client.create_cdr_export(PARAMETERS).id)

    (made,) = flowroute.exports
    assert export.is_completed
    assert export.num_calls == made.num_calls
    assert export.num_calls
    assert export.total_cost == round(made.total_cost or 0, 6)
    assert export.download_url is not None
    assert export.expires_at is not None


def test_export_id_is_escaped_in_the_path():
    with serving(lambda answer: answer.send(200, a_resource())) as server:
        client_at(server.url).get_cdr_export("../keys?all=1#x")

    assert server.requests[0][1] == "/v2/cdrs/exports/..%2Fkeys%3Fall%3D1%23x"


@pytest.mark.parametrize("base_url", ["{}/", "{}//", "{}"])
def test_slashes_at_the_end_of_the_base_url_are_ignored(flowroute: FlowrouteSimulator, base_url: str):
    client = FlowrouteClient(flowroute.access_key, flowroute.secret_key, base_url.format(flowroute.url))

    assert list(client.list_cdr_exports()) == []


def test_keys_can_contain_any_characters():
    with FlowrouteSimulator(access_key="ключ", secret_key="péss:wörd") as flowroute:
        assert list(client_of(flowroute).list_cdr_exports()) == []


@pytest.fixture(scope="module")
def a_full_account() -> Any:
    """An account with 405 exports. Every fourth one failed."""
    with FlowrouteSimulator(processing_seconds=float("inf")) as flowroute:
        client = client_of(flowroute)
        for number in range(405):
            export = client.create_cdr_export(PARAMETERS)
            if number % 4 == 0:
                flowroute.fail(export.id)
        yield flowroute


@pytest.mark.parametrize(
    ("status", "count", "offsets"),
    [
        (None, 405, [0, 200, 400]),
        (ExportStatus.PROCESSING, 303, [0, 200]),
        ("failed", 102, [0]),
        (ExportStatus.COMPLETED, 0, [0]),
    ],
)
def test_list_returns_all_pages(a_full_account: Any, status: Any, count: int, offsets: list[int]):
    before = len(a_full_account.requests)

    exports = list(client_of(a_full_account).list_cdr_exports(status))

    ids = [int(export.id) for export in exports]
    assert len(ids) == count
    assert ids == sorted(set(ids), reverse=True)
    name = status.value if isinstance(status, ExportStatus) else status
    assert {export.status_text for export in exports} <= ({name} if name else {"processing", "failed"})
    requests = a_full_account.requests[before:]
    assert [request.query for request in requests] == [
        {"limit": "200", "offset": str(offset)} | ({"status": name} if name else {}) for offset in offsets
    ]


def test_page_is_requested_only_when_it_is_needed(a_full_account: Any):
    before = len(a_full_account.requests)

    newest = next(client_of(a_full_account).list_cdr_exports(page_size=1))

    assert newest.id == a_full_account.exports[-1].id
    assert [request.query["limit"] for request in a_full_account.requests[before:]] == ["1"]


def test_export_created_between_pages_hides_and_repeats_none():
    with FlowrouteSimulator(processing_seconds=float("inf")) as flowroute:
        client = client_of(flowroute)
        made = [client.create_cdr_export(PARAMETERS).id for _ in range(5)]

        pages = client.list_cdr_exports(page_size=2)
        seen = [next(pages).id]
        client.create_cdr_export(PARAMETERS)
        seen += [export.id for export in pages]

    assert seen == made[::-1]


def test_list_ends_if_the_service_ignores_the_offset():
    page = {"data": [a_resource(1), a_resource(2)], "links": {"next": "http://cdr-api/next"}}
    with serving(lambda answer: answer.send(200, page)) as server:
        exports = list(client_at(server.url).list_cdr_exports(page_size=2))

    assert [export.id for export in exports] == ["1", "2"]
    assert len(server.requests) == 2


def test_flat_and_nested_lists_are_parsed():
    page = {"data": [a_resource(1), a_resource("2")["data"]]}
    with serving(lambda answer: answer.send(200, page)) as server:
        assert [export.id for export in client_at(server.url).list_cdr_exports()] == ["1", "2"]


def test_poll_returns_the_export_only_when_it_is_completed():
    with FlowrouteSimulator(processing_seconds=float("inf")) as flowroute:
        client = client_of(flowroute)
        export = client.create_cdr_export(PARAMETERS)

        assert client.poll_cdr_export(export.id) is None
        flowroute.complete(export.id)
        completed = client.poll_cdr_export(export.id)

    assert isinstance(completed, CdrExport)
    assert completed.is_completed


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ("rate_limit", {}),
        ("server_error", {"status": 503}),
        ("dropped_connection", {}),
        ("html_reply", {}),
    ],
)
def test_poll_logs_a_transient_error_and_returns_none(
    flowroute: FlowrouteSimulator, fault: str, options: Any, caplog: pytest.LogCaptureFixture
):
    client = client_of(flowroute, retries=0)
    export = client.create_cdr_export(PARAMETERS)
    flowroute.add_fault(fault, on="status", **options)

    assert client.poll_cdr_export(export.id) is None
    assert f"Reading CDR export {export.id}" in caplog.text
    assert "Polling again later." in caplog.text
    assert client.poll_cdr_export(export.id) is not None


@pytest.mark.parametrize(
    ("fault", "error"),
    [("failed_export", CdrExportFailedError), ("unknown_status", CdrExportUnknownStatusError)],
)
def test_poll_raises_for_a_status_that_never_completes(
    flowroute: FlowrouteSimulator, fault: str, error: type[Exception]
):
    client = client_of(flowroute)
    flowroute.add_fault(fault)
    export = client.create_cdr_export(PARAMETERS)

    with pytest.raises(error, match=export.id):
        client.poll_cdr_export(export.id)


def test_poll_raises_for_a_missing_export(flowroute: FlowrouteSimulator):
    with pytest.raises(FlowrouteNotFoundError, match="4711"):
        client_of(flowroute).poll_cdr_export("4711")


def test_proxy_is_used_for_the_api():
    def answer(request: Answer) -> None:
        request.send(200, {"data": []})

    with serving(answer) as proxy:
        client = client_at("http://127.0.0.1:9", proxies={"http": proxy.url})
        assert list(client.list_cdr_exports()) == []

    assert proxy.requests[0][1].startswith("http://127.0.0.1:9/v2/cdrs/exports?")


def test_client_closes_its_connections_at_the_end_of_a_with_block():
    connections: list[socket.socket] = []

    def answer(request: Answer) -> None:
        connections.append(request.connection.dup())
        request.send(200, {"data": []})

    with serving(answer) as server:
        with client_at(server.url) as client:
            assert list(client.list_cdr_exports()) == []
            (connection,) = connections
            connection.setblocking(False)
            with pytest.raises(BlockingIOError):
                connection.recv(1)
        connection.settimeout(5)
        assert connection.recv(1) == b""
        connection.close()
