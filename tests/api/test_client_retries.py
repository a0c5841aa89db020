"""What is asked again, what never is, and how long the client waits in between."""

from __future__ import annotations

import email.utils
import socket
import time
from types import SimpleNamespace
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_flowroute.exceptions import (
    FlowrouteError,
    FlowrouteNotFoundError,
    FlowroutePermissionError,
    FlowrouteRateLimitError,
    FlowrouteServerError,
    FlowrouteUnreachableError,
)
from airflow_provider_flowroute.simulator import FlowrouteSimulator
from tests.support import PARAMETERS, Answer, a_closed_port, client_at, client_of, serving

#: Faults after which nobody can tell whether the request took effect, and how many exports there are then.
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


def times_asked(flowroute: FlowrouteSimulator, on: str) -> int:
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
def test_a_read_is_repeated_after_a_passing_error(
    flowroute: FlowrouteSimulator, pauses: list[float], on: str, fault: str, options: Any
):
    client = client_of(flowroute)
    made = client.create_cdr_export(PARAMETERS)
    flowroute.add_fault(fault, on=on, times=2, **options)

    found = client.get_cdr_export(made.id) if on == "status" else next(client.list_cdr_exports())

    assert found.id == made.id
    assert times_asked(flowroute, on) == 3


def test_a_read_is_repeated_when_no_answer_comes_in_time(flowroute: FlowrouteSimulator, pauses: list[float]):
    made = client_of(flowroute).create_cdr_export(PARAMETERS)
    flowroute.add_fault("slow_reply", on="status", seconds=30)

    assert client_of(flowroute, read_timeout=0.2).get_cdr_export(made.id).id == made.id
    assert times_asked(flowroute, "status") >= 2


@pytest.mark.parametrize(
    ("fault", "options", "error"),
    [
        ("rate_limit", {}, FlowrouteRateLimitError),
        ("server_error", {"status": 503}, FlowrouteServerError),
        ("dropped_connection", {}, FlowrouteUnreachableError),
    ],
)
@pytest.mark.parametrize("retries", [0, 3])
def test_a_read_is_given_up_after_as_many_retries_as_the_connection_says(
    flowroute: FlowrouteSimulator,
    pauses: list[float],
    retries: int,
    fault: str,
    options: Any,
    error: type[FlowrouteError],
):
    flowroute.add_fault(fault, on="list", times=None, **options)

    with pytest.raises(error) as caught:
        next(client_of(flowroute, retries=retries).list_cdr_exports())
    assert caught.value.transient
    assert times_asked(flowroute, "list") == retries + 1


@pytest.mark.parametrize(
    ("fault", "options", "error"),
    [
        ("forbidden", {}, FlowroutePermissionError),
        ("server_error", {"status": 501}, FlowrouteServerError),
    ],
)
def test_what_another_try_would_meet_again_is_not_repeated(
    flowroute: FlowrouteSimulator, fault: str, options: Any, error: type[FlowrouteError]
):
    flowroute.add_fault(fault, on="list", times=None, **options)

    with pytest.raises(error):
        next(client_of(flowroute).list_cdr_exports())
    assert times_asked(flowroute, "list") == 1


def test_an_export_that_is_not_there_is_asked_for_once(flowroute: FlowrouteSimulator):
    with pytest.raises(FlowrouteNotFoundError):
        client_of(flowroute).get_cdr_export("4711")
    assert len(flowroute.requests) == 1


def test_the_pauses_grow_bear_jitter_and_stay_under_a_minute(
    flowroute: FlowrouteSimulator, pauses: list[float]
):
    flowroute.add_fault("server_error", on="list", times=None)

    with pytest.raises(FlowrouteServerError):
        next(client_of(flowroute, retries=9).list_cdr_exports())

    assert len(pauses) == 8  # the first repetition comes at once
    assert all(base <= pause <= base + 0.5 for base, pause in zip([1, 2, 4, 8, 16, 32], pauses, strict=False))
    assert pauses[6:] == [60, 60]
    assert any(pause != round(pause) for pause in pauses)


@pytest.mark.parametrize("retry_after", [1, 7, 60])
def test_a_pause_is_as_long_as_flowroute_asks(
    flowroute: FlowrouteSimulator, pauses: list[float], retry_after: int
):
    flowroute.add_fault("rate_limit", retry_after=retry_after)
    flowroute.add_fault("rate_limit", on="list", retry_after=retry_after)
    client = client_of(flowroute)

    client.create_cdr_export(PARAMETERS)
    list(client.list_cdr_exports())

    assert pauses == [retry_after, retry_after]


def test_a_pause_may_be_asked_for_as_a_date(pauses: list[float]):
    date = email.utils.formatdate(time.time() + 30, usegmt=True)
    answers = iter([(429, {"Retry_After": date}), (200, {})])

    def answer(request: Answer) -> None:
        status, headers = next(answers)
        request.send(status, {"data": []}, **headers)

    with serving(answer) as server:
        assert list(client_at(server.url).list_cdr_exports()) == []
    assert len(pauses) == 1
    assert 25 < pauses[0] <= 30


@pytest.mark.parametrize("call", ["create", "list"])
def test_a_pause_longer_than_a_minute_is_handed_on_instead_of_blocking_a_worker(
    flowroute: FlowrouteSimulator, pauses: list[float], call: str
):
    flowroute.add_fault("rate_limit", on=call, retry_after=61)
    client = client_of(flowroute)

    with pytest.raises(FlowrouteRateLimitError) as caught:
        client.create_cdr_export(PARAMETERS) if call == "create" else list(client.list_cdr_exports())
    assert caught.value.retry_after == 61
    assert pauses == []
    assert len(flowroute.requests) == 1


@pytest.mark.parametrize("header", ["soon", "0.5", "", "-3"])
@pytest.mark.parametrize("status", [429, 503])
def test_a_pause_that_cannot_be_read_is_as_if_none_had_been_asked_for(
    pauses: list[float], header: str, status: int
):
    answers = iter([(status, {"Retry_After": header})] * 2 + [(200, {})])

    def answer(request: Answer) -> None:
        status, headers = next(answers)
        request.send(status, {"data": []}, **headers)

    with serving(answer) as server:
        assert list(client_at(server.url).list_cdr_exports()) == []
    assert len(server.requests) == 3
    assert len(pauses) == 1
    assert 1 <= pauses[0] <= 1.5


@pytest.mark.parametrize("options", [{}, {"retry_after": 2}])
def test_a_create_is_repeated_after_429_and_makes_one_export(
    flowroute: FlowrouteSimulator, pauses: list[float], options: Any
):
    flowroute.add_fault("rate_limit", on="create", times=2, **options)

    export = client_of(flowroute).create_cdr_export(PARAMETERS)

    assert [each.id for each in flowroute.exports] == [export.id]
    assert times_asked(flowroute, "create") == 3


def test_a_create_is_given_up_after_as_many_429_as_there_are_retries(
    flowroute: FlowrouteSimulator, pauses: list[float]
):
    flowroute.add_fault("rate_limit", on="create", times=None)

    with pytest.raises(FlowrouteRateLimitError):
        client_of(flowroute, retries=2).create_cdr_export(PARAMETERS)
    assert times_asked(flowroute, "create") == 3
    assert flowroute.exports == []


def test_a_create_is_repeated_when_the_connection_was_refused(mocker: MockerFixture):
    """The service comes up during the second pause."""
    flowroute = FlowrouteSimulator(port=a_closed_port())
    address = f"http://127.0.0.1:{flowroute._ports[0]}"
    clock = SimpleNamespace(sleep=lambda seconds: flowroute.start(), time=time.time)
    mocker.patch("urllib3.util.retry.time", clock)

    try:
        export = client_at(address, flowroute.access_key, flowroute.secret_key).create_cdr_export(PARAMETERS)
        assert [each.id for each in flowroute.exports] == [export.id]
        assert times_asked(flowroute, "create") == 1
    finally:
        flowroute.stop()


@pytest.mark.parametrize(("fault", "options", "error", "exports"), UNCERTAIN)
def test_a_create_that_may_have_taken_effect_is_never_sent_again(
    flowroute: FlowrouteSimulator, fault: str, options: Any, error: type[FlowrouteError], exports: int
):
    flowroute.add_fault(fault, on="create", times=None, **options)

    client = client_of(flowroute, read_timeout=0.5 if fault == "slow_reply" else 5)

    with pytest.raises(error) as caught:
        client.create_cdr_export(PARAMETERS)

    assert caught.value.transient
    assert getattr(caught.value, "request_may_have_arrived", True)
    assert times_asked(flowroute, "create") == 1
    assert len(flowroute.exports) == exports


def test_a_create_whose_repetition_after_429_is_lost_is_not_sent_a_third_time(
    flowroute: FlowrouteSimulator, pauses: list[float]
):
    flowroute.add_fault("rate_limit", on="create")
    flowroute.add_fault("lost_reply")

    with pytest.raises(FlowrouteUnreachableError) as caught:
        client_of(flowroute).create_cdr_export(PARAMETERS)
    assert caught.value.request_may_have_arrived
    assert times_asked(flowroute, "create") == 2
    assert len(flowroute.exports) == 1


def test_a_connection_that_never_comes_about_was_provably_not_used(pauses: list[float]):
    # A full queue of connections lets no further one in, so that the attempt times out.
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(deaf.getsockname())
        try:
            with pytest.raises(FlowrouteUnreachableError, match="ConnectTimeoutError") as caught:
                client_at(
                    f"http://127.0.0.1:{deaf.getsockname()[1]}", connect_timeout=0.2, retries=1
                ).create_cdr_export(PARAMETERS)
        finally:
            for each in waiting:
                each.close()
    assert not caught.value.request_may_have_arrived
