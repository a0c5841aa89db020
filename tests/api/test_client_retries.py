"""Which requests the client retries, which it never repeats, and how long it waits."""

from __future__ import annotations

import email.utils
import socket
import time
from typing import Any

import pytest

from airflow_provider_flowroute.exceptions import (
    FlowrouteError,
    FlowrouteNotFoundError,
    FlowroutePermissionError,
    FlowrouteRateLimitError,
    FlowrouteServerError,
    FlowrouteUnreachableError,
)
from airflow_provider_flowroute.simulator import FlowrouteSimulator
from tests.support import PARAMETERS, Answer, FakeClock, a_closed_port, client_at, client_of, serving

#: Faults after which the client cannot know whether the request took effect, and the number of exports then.
UNCERTAIN: list[tuple[str, dict[str, Any], type[FlowrouteError], int]] = [
    ("lost_reply", {}, FlowrouteUnreachableError, 1),
    ("dropped_connection", {}, FlowrouteUnreachableError, 0),
    ("slow_reply", {"seconds": 30}, FlowrouteUnreachableError, 1),
    ("server_error", {"status": 500}, FlowrouteServerError, 0),
    ("server_error", {"status": 500, "after": True}, FlowrouteServerError, 1),
    ("server_error", {"status": 502, "after": True}, FlowrouteServerError, 1),
    ("server_error", {"status": 503}, FlowrouteServerError, 0),
    ("server_error", {"status": 504, "after": True}, FlowrouteServerError, 1),
]


def count_requests(flowroute: FlowrouteSimulator, on: str) -> int:
    return sum(request.on == on for request in flowroute.requests)


@pytest.mark.parametrize("on", ["status", "list"])
@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ("rate_limit", {}),
        ("rate_limit", {"retry_after": 7}),
        ("dropped_connection", {}),
        ("lost_reply", {}),
        *(("server_error", {"status": status}) for status in (500, 502, 503, 504)),
    ],
)
def test_read_is_retried_after_a_transient_error(
    flowroute: FlowrouteSimulator, clock: FakeClock, on: str, fault: str, options: Any
):
    client = client_of(flowroute, clock=clock)
    made = client.create_cdr_export(PARAMETERS)
    flowroute.add_fault(fault, on=on, times=2, **options)

    found = client.get_cdr_export(made.id) if on == "status" else next(client.list_cdr_exports())

    assert found.id == made.id
    assert count_requests(flowroute, on) == 3


def test_read_is_retried_after_a_timeout(flowroute: FlowrouteSimulator, clock: FakeClock):
    made = client_of(flowroute, clock=clock).create_cdr_export(PARAMETERS)
    flowroute.add_fault("slow_reply", on="status", seconds=30)

    assert client_of(flowroute, clock=clock, read_timeout=0.2).get_cdr_export(made.id).id == made.id
    assert count_requests(flowroute, "status") >= 2


@pytest.mark.parametrize(
    ("fault", "options", "error"),
    [
        ("rate_limit", {}, FlowrouteRateLimitError),
        ("server_error", {"status": 503}, FlowrouteServerError),
        ("dropped_connection", {}, FlowrouteUnreachableError),
    ],
)
@pytest.mark.parametrize("retries", [0, 3])
def test_read_fails_after_the_configured_number_of_retries(
    flowroute: FlowrouteSimulator,
    clock: FakeClock,
    retries: int,
    fault: str,
    options: Any,
    error: type[FlowrouteError],
):
    flowroute.add_fault(fault, on="list", times=None, **options)

    with pytest.raises(error) as caught:
        next(client_of(flowroute, clock=clock, retries=retries).list_cdr_exports())
    assert caught.value.transient
    assert count_requests(flowroute, "list") == retries + 1


@pytest.mark.parametrize(
    ("fault", "options", "error"),
    [
        ("forbidden", {}, FlowroutePermissionError),
        ("server_error", {"status": 501}, FlowrouteServerError),
    ],
)
def test_permanent_error_is_not_retried(
    flowroute: FlowrouteSimulator, fault: str, options: Any, error: type[FlowrouteError]
):
    flowroute.add_fault(fault, on="list", times=None, **options)

    with pytest.raises(error):
        next(client_of(flowroute).list_cdr_exports())
    assert count_requests(flowroute, "list") == 1


def test_missing_export_is_requested_once(flowroute: FlowrouteSimulator):
    with pytest.raises(FlowrouteNotFoundError):
        client_of(flowroute).get_cdr_export("4711")
    assert len(flowroute.requests) == 1


def test_delays_grow_with_jitter_up_to_a_minute(flowroute: FlowrouteSimulator, clock: FakeClock):
    flowroute.add_fault("server_error", on="list", times=None)

    with pytest.raises(FlowrouteServerError):
        next(client_of(flowroute, clock=clock, retries=9).list_cdr_exports())

    assert len(clock.delays) == 8  # the first retry comes without a delay
    assert all(
        base <= delay <= base + 0.5 for base, delay in zip([1, 2, 4, 8, 16, 32], clock.delays, strict=False)
    )
    assert clock.delays[6:] == [60, 60]
    assert any(delay != round(delay) for delay in clock.delays)


@pytest.mark.parametrize("retry_after", [1, 7, 60])
def test_delay_is_as_long_as_flowroute_asks(
    flowroute: FlowrouteSimulator, clock: FakeClock, retry_after: int
):
    flowroute.add_fault("rate_limit", retry_after=retry_after)
    flowroute.add_fault("rate_limit", on="list", retry_after=retry_after)
    client = client_of(flowroute, clock=clock)

    client.create_cdr_export(PARAMETERS)
    list(client.list_cdr_exports())

    assert clock.delays == [retry_after, retry_after]


def test_flowroute_can_ask_for_a_delay_with_a_date(clock: FakeClock):
    date = email.utils.formatdate(time.time() + 30, usegmt=True)
    answers = iter([(429, {"Retry_After": date}), (200, {})])

    def answer(request: Answer) -> None:
        status, headers = next(answers)
        request.send(status, {"data": []}, **headers)

    with serving(answer) as server:
        assert list(client_at(server.url, clock=clock).list_cdr_exports()) == []
    assert len(clock.delays) == 1
    assert 25 < clock.delays[0] <= 30


@pytest.mark.parametrize("call", ["create", "list"])
def test_delay_longer_than_a_minute_is_an_error_and_no_wait(
    flowroute: FlowrouteSimulator, clock: FakeClock, call: str
):
    flowroute.add_fault("rate_limit", on=call, retry_after=61)
    client = client_of(flowroute, clock=clock)

    with pytest.raises(FlowrouteRateLimitError) as caught:
        client.create_cdr_export(PARAMETERS) if call == "create" else list(client.list_cdr_exports())
    assert caught.value.retry_after == 61
    assert clock.delays == []
    assert len(flowroute.requests) == 1


@pytest.mark.parametrize("header", ["soon", "0.5", "", "-3"])
@pytest.mark.parametrize("status", [429, 503])
def test_invalid_retry_after_is_ignored(clock: FakeClock, header: str, status: int):
    answers = iter([(status, {"Retry_After": header})] * 2 + [(200, {})])

    def answer(request: Answer) -> None:
        status, headers = next(answers)
        request.send(status, {"data": []}, **headers)

    with serving(answer) as server:
        assert list(client_at(server.url, clock=clock).list_cdr_exports()) == []
    assert len(server.requests) == 3
    assert len(clock.delays) == 1
    assert 1 <= clock.delays[0] <= 1.5


@pytest.mark.parametrize("options", [{}, {"retry_after": 2}])
def test_create_is_retried_after_429_and_creates_one_export(
    flowroute: FlowrouteSimulator, clock: FakeClock, options: Any
):
    flowroute.add_fault("rate_limit", on="create", times=2, **options)

    created = client_of(flowroute, clock=clock).create_cdr_export(PARAMETERS)

    assert [export.id for export in flowroute.exports] == [created.id]
    assert count_requests(flowroute, "create") == 3


def test_create_fails_after_the_configured_number_of_429_retries(
    flowroute: FlowrouteSimulator, clock: FakeClock
):
    flowroute.add_fault("rate_limit", on="create", times=None)

    with pytest.raises(FlowrouteRateLimitError):
        client_of(flowroute, clock=clock, retries=2).create_cdr_export(PARAMETERS)
    assert count_requests(flowroute, "create") == 3
    assert flowroute.exports == []


def test_create_is_retried_after_a_refused_connection(clock: FakeClock):
    """The service starts during the second delay."""
    port = a_closed_port()
    flowroute = FlowrouteSimulator(port=port)
    keys = flowroute.access_key, flowroute.secret_key
    clock.during = lambda seconds: flowroute.start()

    try:
        client = client_at(f"http://127.0.0.1:{port}", *keys, clock=clock)
        created = client.create_cdr_export(PARAMETERS)
        assert [export.id for export in flowroute.exports] == [created.id]
        assert count_requests(flowroute, "create") == 1
    finally:
        flowroute.stop()


@pytest.mark.parametrize(("fault", "options", "error", "exports"), UNCERTAIN)
def test_create_that_may_have_taken_effect_is_never_repeated(
    flowroute: FlowrouteSimulator, fault: str, options: Any, error: type[FlowrouteError], exports: int
):
    flowroute.add_fault(fault, on="create", times=None, **options)

    client = client_of(flowroute, read_timeout=0.5 if fault == "slow_reply" else 5)

    with pytest.raises(error) as caught:
        client.create_cdr_export(PARAMETERS)

    assert caught.value.transient
    assert getattr(caught.value, "request_may_have_arrived", True)
    assert count_requests(flowroute, "create") == 1
    assert len(flowroute.exports) == exports


def test_create_is_not_repeated_if_the_response_after_a_429_is_lost(
    flowroute: FlowrouteSimulator, clock: FakeClock
):
    flowroute.add_fault("rate_limit", on="create")
    flowroute.add_fault("lost_reply")

    with pytest.raises(FlowrouteUnreachableError) as caught:
        client_of(flowroute, clock=clock).create_cdr_export(PARAMETERS)
    assert caught.value.request_may_have_arrived
    assert count_requests(flowroute, "create") == 2
    assert len(flowroute.exports) == 1


def test_connection_timeout_means_the_request_did_not_arrive(clock: FakeClock):
    # A full backlog accepts no further connection, so the connection attempt times out.
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for waiter in waiting:
            waiter.setblocking(False)
            waiter.connect_ex(deaf.getsockname())
        try:
            with pytest.raises(FlowrouteUnreachableError, match="ConnectTimeoutError") as caught:
                client_at(
                    f"http://127.0.0.1:{deaf.getsockname()[1]}", connect_timeout=0.2, retries=1, clock=clock
                ).create_cdr_export(PARAMETERS)
        finally:
            for waiter in waiting:
                waiter.close()
    assert not caught.value.request_may_have_arrived
