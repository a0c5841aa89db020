"""What errors and hung requests do to the triggers of a connection, and to the others."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from email.utils import formatdate

import pytest

from airflow_provider_flowroute.api.client import PAGE_SIZE
from airflow_provider_flowroute.hooks.flowroute import FlowrouteHook
from airflow_provider_flowroute.triggers.poller_registry import joined
from airflow_provider_flowroute.triggers.waits import Wait
from tests.support import connection_json
from tests.triggers.account import (
    BUSY,
    a_trigger,
    event_of,
    failing,
    hanging,
    ids,
    run,
    statuses,
    until,
)


def test_a_page_that_fails_mid_round_delays_the_rest_only(serve):
    account = serve(*ids(2 * PAGE_SIZE + 1))
    account.instead = failing(503, times=1, on=lambda request: request.offset == PAGE_SIZE)

    events = run(
        account, *map(a_trigger, ids(2 * PAGE_SIZE + 1)), after=lambda account: len(account.lists) >= 6
    )

    assert statuses(events) == ["completed"] * (2 * PAGE_SIZE + 1)
    assert [request.offset for request in account.lists[:3]] == [0, PAGE_SIZE, 0]


@pytest.mark.parametrize("number", [1, 5])
@pytest.mark.parametrize(
    ("status", "body"),
    [(500, BUSY), (503, BUSY), (429, BUSY), (200, "<html>Maintenance</html>"), (502, "<html></html>")],
)
def test_transient_errors_slow_the_connection_down(serve, number, status, body):
    account = serve(*ids(number), instead=failing(status, times=2, body=body))
    account.complete()

    events = run(account, *(a_trigger(export_id, poke_interval=0.1) for export_id in ids(number)))

    assert statuses(events) == ["completed"] * number
    first, second, third = (request.at for request in account.requests[:3])
    assert 0.15 <= second - first < third - second


@pytest.mark.parametrize("header", [lambda: "1", lambda: formatdate(time.time() + 2, usegmt=True)])
@pytest.mark.parametrize("number", [1, 5])
def test_retry_after_is_honoured_by_the_whole_connection(serve, number, header):
    account = serve(*ids(number), instead=failing(429, times=1, Retry_After=header()))
    account.complete()

    events = run(account, *map(a_trigger, ids(number)))

    assert statuses(events) == ["completed"] * number
    assert account.requests[1].at - account.requests[0].at >= 0.95


def test_a_poll_does_not_retry_by_itself(serve):
    account = serve("1", instead=failing(503))

    [event] = run(account, a_trigger("1", timeout=0.5, poke_interval=10))

    assert event["status"] == "timeout"
    assert "503" in event["message"]
    assert len(account.requests) <= 1 + 3  # one poll, and the last polls in less than a second


def test_refused_keys_end_all_triggers_of_the_connection_only(serve):
    refused, other = serve(*ids(5), conn_id="refused"), serve("1")
    refused.instead = failing(401, body={"errors": [{"detail": "The key has expired."}]})

    events = run(other, a_trigger("1", wait=0.5), *(a_trigger(name, "refused") for name in ids(5)))

    assert statuses(events) == ["completed"] + ["error"] * 5
    assert all("The key has expired" in event["message"] for event in events[1:])
    assert len(refused.requests) == 1


def test_unusable_connections_end_their_own_triggers_only(serve, monkeypatch):
    account = serve("1")
    monkeypatch.setenv("AIRFLOW_CONN_KEYLESS", '{"conn_type": "flowroute"}')

    events = run(account, a_trigger("1"), a_trigger("1", "keyless"), a_trigger("1", "undefined"))

    assert statuses(events) == ["completed", "error", "error"]
    assert "keyless" in events[1]["message"]
    assert "undefined" in events[2]["message"]


def test_a_hung_account_delays_no_other_account(serve):
    hung, other = serve(*ids(3), conn_id="hung"), serve(*ids(3))
    hung.instead = hanging(2)

    events = run(
        other,
        *map(a_trigger, ids(3)),
        *(a_trigger(name, "hung", timeout=0.5) for name in ids(3)),
        after=lambda account: len(account.lists) >= 3,
    )

    assert statuses(events) == ["completed"] * 3 + ["timeout"] * 3
    assert max(event["at"] for event in events[:3]) < min(event["at"] for event in events[3:])


def test_a_request_without_an_answer_ends_after_30_seconds(serve, monkeypatch):
    serve("1")
    patient = '{"conn_type": "flowroute", "login": "k", "password": "s", "extra": {"read_timeout": 300}}'
    monkeypatch.setenv("AIRFLOW_CONN_PATIENT", patient)

    async def timeouts():
        options = await FlowrouteHook("patient").aget_client_options()
        with joined(options, Wait("1", 60, time.time() + 60, time.time() + 60)) as poller:
            return poller._client._timeout, poller._client._retries

    assert asyncio.run(timeouts()) == ((10, 20), 0)


STOPPED_TRIGGERER = """
import asyncio
from airflow_provider_flowroute.triggers.cdr_export import CdrExportTrigger
from airflow_provider_flowroute.triggers.poller import REQUEST_LIMITS

REQUEST_LIMITS.clear()

async def run():
    async for event in CdrExportTrigger("1", "flowroute_default", 60, 10**10, 0).run():
        print(event)

asyncio.run(asyncio.wait_for(run(), 3))
"""


def test_a_hung_request_does_not_delay_the_stop_of_the_triggerer(serve):
    account = serve("1", instead=hanging(100))  # The request ends after the connection's 60 s.

    done = subprocess.run(
        [sys.executable, "-c", STOPPED_TRIGGERER], capture_output=True, text=True, check=False
    )

    assert "TimeoutError" in done.stderr
    assert time.time() - account.requests[0].at < 50


def test_a_bug_in_the_poller_ends_its_triggers_with_an_error(serve, caplog):
    """JSON that is nested too deeply raises a RecursionError, which no code expects."""
    account = serve("1", "2")
    account.instead = failing(200, times=1, body="[" * 200_000)

    events = run(account, a_trigger("1"), a_trigger("2"))

    assert statuses(events) == ["error", "error"]
    assert "RecursionError" in events[0]["message"]
    assert statuses(run(account, a_trigger("1"))) == ["completed"]


def test_a_changed_connection_counts_for_new_triggers(serve, monkeypatch):
    old, new = serve("1", "2"), serve("1", "2", conn_id="new")

    async def scenario():
        first = asyncio.create_task(event_of(a_trigger("1")))
        await until(lambda: old.requests)
        monkeypatch.setenv("AIRFLOW_CONN_FLOWROUTE_DEFAULT", connection_json(new.url))
        second = asyncio.create_task(event_of(a_trigger("2")))
        await until(lambda: new.requests)
        assert not first.done()
        old.complete()
        new.complete()
        return await asyncio.gather(first, second)

    assert statuses(asyncio.run(scenario())) == ["completed", "completed"]
    assert not old.polls("2")
    assert not new.polls("1")
