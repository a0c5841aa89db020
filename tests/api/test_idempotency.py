"""A create whose answer was lost: looked for, not sent again."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_flowroute.api import idempotency
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
from tests.support import PARAMETERS, Answer, a_closed_port, client_at, client_of, serving

REQUEST = CdrExportRequest(PARAMETERS)


class Clock:
    """The clock of the looks: no pause is waited for; ``during`` is what happens in each."""

    def __init__(self) -> None:
        self.pauses: list[float] = []
        self.now = 0.0
        self.during: Callable[[float], Any] = lambda seconds: None

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds
        self.during(seconds)

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(idempotency, "time", SimpleNamespace(sleep=clock.sleep, monotonic=clock.monotonic))
    return clock


def asked(flowroute: FlowrouteSimulator) -> dict[str, int]:
    """How many requests of each kind there were."""
    kinds = [request.on for request in flowroute.requests]
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


def test_in_the_ordinary_case_there_is_one_request_and_nothing_else(
    flowroute: FlowrouteSimulator, clock: Clock
):
    export = create_once(client_of(flowroute), REQUEST)

    assert [each.id for each in flowroute.exports] == [export.id]
    assert asked(flowroute) == {"create": 1}
    assert clock.pauses == []


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
def test_an_export_whose_answer_was_lost_is_found_in_the_list(
    flowroute: FlowrouteSimulator, clock: Clock, fault: str, options: Any
):
    flowroute.add_fault(fault, on="create", **options)

    export = create_once(client_of(flowroute, read_timeout=0.5), REQUEST)

    assert [each.id for each in flowroute.exports] == [export.id]
    assert asked(flowroute) == {"create": 1, "list": 1}
    assert clock.pauses == [0]


@pytest.mark.parametrize(
    ("fault", "options"),
    [("dropped_connection", {}), ("server_error", {"status": 503}), ("html_reply", {})],
)
def test_what_is_not_found_within_half_a_minute_is_an_error_that_another_try_can_mend(
    flowroute: FlowrouteSimulator, clock: Clock, fault: str, options: Any
):
    flowroute.add_fault(fault, on="create", **options)

    with pytest.raises(
        CdrExportUncertainError, match=r"Creating a CDR export.*It was not sent again"
    ) as caught:
        create_once(client_of(flowroute), REQUEST)

    assert caught.value.transient
    assert asked(flowroute) == {"create": 1, "list": 5}
    assert sum(clock.pauses) == 30
    assert flowroute.exports == []


def test_an_export_that_comes_late_into_the_list_is_found(flowroute: FlowrouteSimulator, clock: Clock):
    flowroute.add_fault("dropped_connection", on="create")
    clock.during = lambda seconds: seconds == 4 and client_of(flowroute).create_cdr_export(PARAMETERS)

    export = create_once(client_of(flowroute), REQUEST)

    assert [each.id for each in flowroute.exports] == [export.id]
    assert clock.pauses == [0, 2, 4]


def test_a_look_that_fails_is_followed_by_another(flowroute: FlowrouteSimulator, clock: Clock):
    flowroute.add_fault("lost_reply")
    flowroute.add_fault("server_error", on="list")
    flowroute.add_fault("wrong_shape", on="list")
    flowroute.add_fault("html_reply", on="list")

    export = create_once(client_of(flowroute, retries=0), REQUEST)

    assert [each.id for each in flowroute.exports] == [export.id]
    assert asked(flowroute) == {"create": 1, "list": 4}


def test_looks_that_take_long_themselves_are_fewer(flowroute: FlowrouteSimulator, clock: Clock):
    flowroute.add_fault("dropped_connection", on="create")

    def slow_look(seconds: float) -> None:
        clock.now += 20

    clock.during = slow_look
    with pytest.raises(CdrExportUncertainError):
        create_once(client_of(flowroute), REQUEST)
    assert clock.pauses == [0, 2]


def test_keys_that_are_refused_in_a_look_end_it(flowroute: FlowrouteSimulator, clock: Clock):
    flowroute.add_fault("lost_reply")
    flowroute.add_fault("unauthorized", on="list")

    with pytest.raises(FlowrouteAuthenticationError):
        create_once(client_of(flowroute), REQUEST)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("rate_limit", FlowrouteRateLimitError),
        ("unauthorized", FlowrouteAuthenticationError),
        ("forbidden", FlowrouteError),
    ],
)
def test_an_answer_that_says_no_is_not_followed_by_a_look(
    flowroute: FlowrouteSimulator, clock: Clock, fault: str, error: type[FlowrouteError]
):
    flowroute.add_fault(fault, on="create")

    with pytest.raises(error) as caught:
        create_once(client_of(flowroute, retries=0), REQUEST)
    assert not caught.value.request_may_have_arrived
    assert asked(flowroute) == {"create": 1}


def test_a_request_that_flowroute_refuses_is_not_followed_by_a_look(
    flowroute: FlowrouteSimulator, clock: Clock
):
    with pytest.raises(FlowrouteRequestError):
        create_once(client_of(flowroute), CdrExportRequest({}))
    assert asked(flowroute) == {"create": 1}


def test_a_redirect_made_nothing(clock: Clock):
    with serving(lambda request: request.send(302, Location="http://127.0.0.1:9/")) as server:
        with pytest.raises(FlowrouteError, match="redirect") as caught:
            create_once(client_at(server.url), REQUEST)
        assert not caught.value.request_may_have_arrived
        assert len(server.requests) == 1


def test_a_service_that_is_gone_altogether_leaves_the_rest_to_another_try(clock: Clock):
    with pytest.raises(FlowrouteError) as caught:
        create_once(client_at(f"http://127.0.0.1:{a_closed_port()}", retries=0), REQUEST)
    assert caught.value.transient
    assert isinstance(caught.value, CdrExportUncertainError | FlowrouteUnreachableError)


def make(flowroute: FlowrouteSimulator, seconds_ago: float = 0, **options: Any) -> str:
    """An export that was requested some time ago."""
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


def test_an_export_from_before_the_request_is_not_taken_for_its_own(flowroute: FlowrouteSimulator):
    make(flowroute, seconds_ago=62)

    assert found(flowroute) is None


def test_workers_whose_clocks_differ_by_less_than_a_minute_find_each_others_exports(
    flowroute: FlowrouteSimulator,
):
    export_id = make(flowroute, seconds_ago=55)

    assert found(flowroute) == export_id


@pytest.mark.parametrize("hours", [-5, 5])
def test_flowroutes_clock_may_differ_from_ours_by_any_time(flowroute: FlowrouteSimulator, hours: int):
    flowroute.clock_ahead = hours * 3600
    make(flowroute, seconds_ago=120)
    export_id = make(flowroute)
    make(flowroute, parameters={**PARAMETERS, "direction": "inbound"})

    assert found(flowroute) == export_id


@pytest.mark.parametrize("url", [None, "http://127.0.0.1:9/another"])
def test_an_export_that_is_announced_elsewhere_is_anothers(flowroute: FlowrouteSimulator, url: str | None):
    make(flowroute, callback_url=url)
    assert found(flowroute, callback_url="http://127.0.0.1:9/ours") is None

    export_id = make(flowroute, callback_url="http://127.0.0.1:9/ours")
    assert found(flowroute, callback_url="http://127.0.0.1:9/ours") == export_id


def test_an_export_of_other_calls_is_anothers(flowroute: FlowrouteSimulator):
    make(flowroute, parameters={**PARAMETERS, "direction": "inbound"})
    make(flowroute, parameters={**PARAMETERS, "start_call_start_time": "2026-03-02 00:00:01"})

    assert found(flowroute) is None


def test_a_failed_export_is_never_taken_up(flowroute: FlowrouteSimulator):
    flowroute.add_fault("failed_export")
    make(flowroute)

    assert found(flowroute) is None


def test_an_export_whose_file_is_gone_is_never_taken_up():
    with FlowrouteSimulator(link_seconds=0) as flowroute:
        make(flowroute)
        assert found(flowroute) is None


def test_of_several_the_one_nearest_to_an_exact_instant_is_taken_else_the_newest(
    flowroute: FlowrouteSimulator,
):
    make(flowroute, seconds_ago=340)
    nearest = make(flowroute, seconds_ago=299)
    newest = make(flowroute, seconds_ago=100)

    assert found(flowroute, seconds_ago=300) == nearest
    assert found(flowroute, seconds_ago=300, exact=False) == newest


def test_the_rest_of_a_long_list_is_not_read_once_it_is_older(flowroute: FlowrouteSimulator):
    for _ in range(201):
        make(flowroute, seconds_ago=3600)
    export_id = make(flowroute)

    assert found(flowroute) == export_id
    assert asked(flowroute)["list"] == 1


def resource(number: int, requested_at: datetime | None) -> dict[str, Any]:
    attributes = {
        "status": "processing",
        "requested_at": requested_at and requested_at.isoformat(timespec="seconds"),
        "filter_parameters": PARAMETERS,
    }
    return {"data": {"type": "cdrexport", "id": number, "attributes": attributes}}


def a_list_of(instants: list[datetime | None], date: bool = True) -> Callable[[Answer], None]:
    """Answers as a list of exports of one request, in this order; perhaps without telling the time."""

    def answer(request: Answer) -> None:
        offset = int(request.path.rpartition("offset=")[2])
        if not date:
            request.send_response = request.send_response_only  # type: ignore[method-assign]
        page = list(enumerate(instants))[offset : offset + 200]
        request.send(200, {"data": [resource(number, instant) for number, instant in page]})

    return answer


@pytest.mark.parametrize("order", ["oldest first", "none"])
def test_a_list_in_any_order_gives_the_export(order: str):
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


def test_an_export_that_does_not_say_when_it_was_requested_is_not_taken_up():
    with serving(a_list_of([None, None])) as server:
        assert find_export(client_at(server.url), REQUEST, RequestTime(datetime.now(UTC))) is None


@pytest.mark.parametrize(("minutes", "number"), [(4, "0"), (6, None)])
def test_where_flowroutes_answers_do_not_tell_the_time_five_minutes_are_allowed_for(
    minutes: int, number: str | None
):
    now = datetime.now(UTC)
    with serving(a_list_of([now - timedelta(minutes=minutes)], date=False)) as server:
        client = client_at(server.url)
        export = find_export(client, REQUEST, RequestTime(now))
        assert (export and export.id) == number
        assert client.clock_ahead is None


@pytest.mark.parametrize(
    "date", ["soon", "", "Tue, 24 Nov 2026 08:00:00 -0000", "Tue, 99 Nov 2026 08:00:00 GMT"]
)
def test_a_time_that_cannot_be_read_is_as_if_none_had_been_told(date: str):
    def answer(request: Answer) -> None:
        request.send_response = request.send_response_only  # type: ignore[method-assign]
        request.send(200, {"data": []}, Date=date)

    with serving(answer) as server:
        client = client_at(server.url)
        assert list(client.list_cdr_exports()) == []
    assert client.clock_ahead is None


def test_flowroutes_clock_is_read_from_its_answers(flowroute: FlowrouteSimulator):
    flowroute.clock_ahead = 100
    client: FlowrouteClient = client_of(flowroute)
    began = time.monotonic()
    client.create_cdr_export(PARAMETERS)

    assert client.clock_ahead is not None
    assert 98 - (time.monotonic() - began) <= client.clock_ahead.total_seconds() <= 100
