"""After a lost response to a create, find the export instead of repeating the request."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_flowroute.api.client import FlowrouteClient
from airflow_provider_flowroute.api.idempotency import RequestTime, create_once, find_export
from airflow_provider_flowroute.cdr.request import CdrExportRequest
from airflow_provider_flowroute.exceptions import (
    CdrExportUncertainError,
    FlowrouteAuthenticationError,
    FlowrouteError,
    FlowrouteRateLimitError,
    FlowrouteRequestError,
    FlowrouteUnreachableError,
)
from airflow_provider_flowroute.simulator import FlowrouteSimulator
from tests.support import PARAMETERS, Answer, FakeClock, a_closed_port, client_at, client_of, serving

REQUEST = CdrExportRequest(PARAMETERS)


def count_by_kind(flowroute: FlowrouteSimulator) -> dict[str, int]:
    """Return the number of requests of each kind."""
    kinds = [request.on for request in flowroute.requests]
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


def test_successful_create_sends_one_request(flowroute: FlowrouteSimulator, clock: FakeClock):
    created = create_once(client_of(flowroute, clock=clock), REQUEST)

    assert [export.id for export in flowroute.exports] == [created.id]
    assert count_by_kind(flowroute) == {"create": 1}
    assert clock.delays == []


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ("lost_reply", {}),
        ("slow_reply", {"seconds": 30}),
        ("server_error", {"status": 500, "after": True}),
        ("server_error", {"status": 504, "after": True}),
        ("wrong_shape", {}),
    ],
)
def test_lost_response_finds_the_export_in_the_list(
    flowroute: FlowrouteSimulator, clock: FakeClock, fault: str, options: Any
):
    flowroute.add_fault(fault, on="create", **options)

    created = create_once(client_of(flowroute, read_timeout=0.5, clock=clock), REQUEST)

    assert [export.id for export in flowroute.exports] == [created.id]
    assert count_by_kind(flowroute) == {"create": 1, "list": 1}
    assert clock.delays == [0]


@pytest.mark.parametrize(
    ("fault", "options"),
    [("dropped_connection", {}), ("server_error", {"status": 503}), ("html_reply", {})],
)
def test_export_not_found_in_30_seconds_is_a_transient_error(
    flowroute: FlowrouteSimulator, clock: FakeClock, fault: str, options: Any
):
    flowroute.add_fault(fault, on="create", **options)

    with pytest.raises(
        CdrExportUncertainError, match=r"(?s)Creating a CDR export.*the request was not repeated"
    ) as caught:
        create_once(client_of(flowroute, clock=clock), REQUEST)

    assert caught.value.transient
    assert count_by_kind(flowroute) == {"create": 1, "list": 5}
    assert sum(clock.delays) == 30
    assert flowroute.exports == []


def test_export_that_appears_late_in_the_list_is_found(flowroute: FlowrouteSimulator, clock: FakeClock):
    flowroute.add_fault("dropped_connection", on="create")
    clock.during = lambda seconds: seconds == 4 and client_of(flowroute).create_cdr_export(PARAMETERS)

    created = create_once(client_of(flowroute, clock=clock), REQUEST)

    assert [export.id for export in flowroute.exports] == [created.id]
    assert clock.delays == [0, 2, 4]


def test_failed_lookup_is_repeated(flowroute: FlowrouteSimulator, clock: FakeClock):
    flowroute.add_fault("lost_reply")
    flowroute.add_fault("server_error", on="list")
    flowroute.add_fault("wrong_shape", on="list")
    flowroute.add_fault("html_reply", on="list")

    created = create_once(client_of(flowroute, retries=0, clock=clock), REQUEST)

    assert [export.id for export in flowroute.exports] == [created.id]
    assert count_by_kind(flowroute) == {"create": 1, "list": 4}


def test_slow_lookups_are_fewer(flowroute: FlowrouteSimulator, clock: FakeClock):
    flowroute.add_fault("dropped_connection", on="create")

    def slow_lookup(seconds: float) -> None:
        clock.now += 20

    clock.during = slow_lookup
    with pytest.raises(CdrExportUncertainError):
        create_once(client_of(flowroute, clock=clock), REQUEST)
    assert clock.delays == [0, 2]


def test_rejected_keys_end_the_lookup(flowroute: FlowrouteSimulator, clock: FakeClock):
    flowroute.add_fault("lost_reply")
    flowroute.add_fault("unauthorized", on="list")

    with pytest.raises(FlowrouteAuthenticationError):
        create_once(client_of(flowroute, clock=clock), REQUEST)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("rate_limit", FlowrouteRateLimitError),
        ("unauthorized", FlowrouteAuthenticationError),
        ("forbidden", FlowrouteError),
    ],
)
def test_rejected_create_is_not_followed_by_a_lookup(
    flowroute: FlowrouteSimulator, clock: FakeClock, fault: str, error: type[FlowrouteError]
):
    flowroute.add_fault(fault, on="create")

    with pytest.raises(error) as caught:
        create_once(client_of(flowroute, retries=0, clock=clock), REQUEST)
    assert not caught.value.request_may_have_arrived
    assert count_by_kind(flowroute) == {"create": 1}


def test_invalid_request_is_not_followed_by_a_lookup(flowroute: FlowrouteSimulator, clock: FakeClock):
    with pytest.raises(FlowrouteRequestError):
        create_once(client_of(flowroute, clock=clock), CdrExportRequest({}))
    assert count_by_kind(flowroute) == {"create": 1}


def test_redirect_means_that_no_export_was_created(clock: FakeClock):
    with serving(lambda request: request.send(302, Location="http://127.0.0.1:9/")) as server:
        with pytest.raises(FlowrouteError, match="redirect") as caught:
            create_once(client_at(server.url, clock=clock), REQUEST)
        assert not caught.value.request_may_have_arrived
        assert len(server.requests) == 1


def test_unreachable_service_is_a_transient_error(clock: FakeClock):
    with pytest.raises(FlowrouteError) as caught:
        create_once(client_at(f"http://127.0.0.1:{a_closed_port()}", retries=0, clock=clock), REQUEST)
    assert caught.value.transient
    assert isinstance(caught.value, CdrExportUncertainError | FlowrouteUnreachableError)


def create_ago(flowroute: FlowrouteSimulator, seconds_ago: float = 0, **options: Any) -> str:
    """Create an export that was requested some time ago."""
    clock_ahead, flowroute.clock_ahead = flowroute.clock_ahead, flowroute.clock_ahead - seconds_ago
    try:
        return client_of(flowroute).create_cdr_export(options.pop("parameters", PARAMETERS), **options).id
    finally:
        flowroute.clock_ahead = clock_ahead


def found(
    flowroute: FlowrouteSimulator, seconds_ago: float = 0, exact: bool = True, **options: Any
) -> str | None:
    since = RequestTime(datetime.now(UTC) - timedelta(seconds=seconds_ago), exact)
    request = CdrExportRequest(options.pop("parameters", PARAMETERS), **options)
    export = find_export(client_of(flowroute), request, since)
    return export.id if export else None


def test_export_from_before_the_request_is_not_found(flowroute: FlowrouteSimulator):
    create_ago(flowroute, seconds_ago=62)

    assert found(flowroute) is None


def test_export_is_found_if_clocks_differ_by_less_than_a_minute(
    flowroute: FlowrouteSimulator,
):
    export_id = create_ago(flowroute, seconds_ago=55)

    assert found(flowroute) == export_id


@pytest.mark.parametrize("hours", [-5, 5])
def test_flowroutes_clock_can_differ_by_hours(flowroute: FlowrouteSimulator, hours: int):
    flowroute.clock_ahead = hours * 3600
    create_ago(flowroute, seconds_ago=120)
    export_id = create_ago(flowroute)
    create_ago(flowroute, parameters={**PARAMETERS, "direction": "inbound"})

    assert found(flowroute) == export_id


@pytest.mark.parametrize("url", [None, "http://127.0.0.1:9/ours/", "http://127.0.0.1:9/our%73"])
def test_export_with_a_missing_or_normalized_callback_url_is_found(
    flowroute: FlowrouteSimulator, url: str | None
):
    export_id = create_ago(flowroute, callback_url=url)

    assert found(flowroute, callback_url="http://127.0.0.1:9/ours") == export_id


def test_export_with_another_callback_url_is_not_found(flowroute: FlowrouteSimulator):
    create_ago(flowroute, callback_url="http://127.0.0.1:9/another")
    assert found(flowroute) is None
    assert found(flowroute, callback_url="http://127.0.0.1:9/ours") is None

    export_id = create_ago(flowroute, callback_url="http://127.0.0.1:9/ours")
    assert found(flowroute, callback_url="http://127.0.0.1:9/ours") == export_id


def test_export_of_other_calls_is_not_found(flowroute: FlowrouteSimulator):
    create_ago(flowroute, parameters={**PARAMETERS, "direction": "inbound"})
    create_ago(flowroute, parameters={**PARAMETERS, "start_call_start_time": "2026-03-02 00:00:01"})

    assert found(flowroute) is None


def test_failed_export_is_not_found(flowroute: FlowrouteSimulator):
    flowroute.add_fault("failed_export")
    create_ago(flowroute)

    assert found(flowroute) is None


def test_expired_export_is_not_found():
    with FlowrouteSimulator(link_seconds=0) as flowroute:
        create_ago(flowroute)
        assert found(flowroute) is None


def test_nearest_to_an_exact_time_is_found_else_the_newest(
    flowroute: FlowrouteSimulator,
):
    create_ago(flowroute, seconds_ago=340)
    nearest = create_ago(flowroute, seconds_ago=299)
    newest = create_ago(flowroute, seconds_ago=100)

    assert found(flowroute, seconds_ago=300) == nearest
    assert found(flowroute, seconds_ago=300, exact=False) == newest


def resource(number: int, requested_at: datetime | None) -> dict[str, Any]:
    attributes = {
        "status": "processing",
        "requested_at": requested_at and requested_at.isoformat(timespec="seconds"),
        "filter_parameters": PARAMETERS,
    }
    return {"data": {"type": "cdrexport", "id": number, "attributes": attributes}}


def a_list_of(instants: list[datetime | None], date: bool = True) -> Callable[[Answer], None]:
    """Answer with a list of exports of one request, in this order, with or without a Date header."""

    def answer(request: Answer) -> None:
        offset = int(request.path.rpartition("offset=")[2])
        if not date:
            request.send_response = request.send_response_only  # type: ignore[method-assign]
        page = list(enumerate(instants))[offset : offset + 200]
        request.send(200, {"data": [resource(number, instant) for number, instant in page]})

    return answer


def test_older_pages_of_the_list_are_not_requested():
    now = datetime.now(UTC)
    with serving(a_list_of([now, *[now - timedelta(hours=1)] * 201])) as server:
        export = find_export(client_at(server.url), REQUEST, RequestTime(now))
        assert export is not None
        assert export.id == "0"
        assert len(server.requests) == 1


@pytest.mark.parametrize("order", ["oldest first", "none"])
def test_export_is_found_in_a_list_in_any_order(order: str):
    now = datetime.now(UTC)
    instants: list[datetime | None] = [now - timedelta(days=900 - day) for day in range(430)]
    instants.append(now)
    if order == "none":
        instants[0], instants[150] = instants[150], instants[0]

    with serving(a_list_of(instants)) as server:
        export = find_export(client_at(server.url), REQUEST, RequestTime(now))
        assert export is not None
        assert export.id == "430"
        assert len(server.requests) == 3


def test_export_without_a_request_time_is_not_found():
    with serving(a_list_of([None, None])) as server:
        assert find_export(client_at(server.url), REQUEST, RequestTime(datetime.now(UTC))) is None


@pytest.mark.parametrize(("minutes", "number"), [(4, "0"), (6, None)])
def test_answers_without_a_date_allow_five_minutes(minutes: int, number: str | None):
    now = datetime.now(UTC)
    with serving(a_list_of([now - timedelta(minutes=minutes)], date=False)) as server:
        client = client_at(server.url)
        export = find_export(client, REQUEST, RequestTime(now))
        assert (export and export.id) == number
        assert client.clock_ahead is None


@pytest.mark.parametrize(
    "date", ["soon", "", "Tue, 24 Nov 2026 08:00:00 -0000", "Tue, 99 Nov 2026 08:00:00 GMT"]
)
def test_invalid_date_header_is_ignored(date: str):
    def answer(request: Answer) -> None:
        request.send_response = request.send_response_only  # type: ignore[method-assign]
        request.send(200, {"data": []}, Date=date)

    with serving(answer) as server:
        client = client_at(server.url)
        assert list(client.list_cdr_exports()) == []
    assert client.clock_ahead is None


def test_clock_difference_is_read_from_the_date_header(flowroute: FlowrouteSimulator):
    flowroute.clock_ahead = 100
    client: FlowrouteClient = client_of(flowroute)
    began = time.monotonic()
    client.create_cdr_export(PARAMETERS)

    assert client.clock_ahead is not None
    assert 98 - (time.monotonic() - began) <= client.clock_ahead.total_seconds() <= 100
