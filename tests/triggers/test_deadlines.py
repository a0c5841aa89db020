"""A wait ends at its deadline, with one poll at or after it, and logs its progress."""

from __future__ import annotations

import asyncio
import logging
import re

import pytest

from tests.triggers.account import (
    a_trigger,
    event_of,
    failing,
    hanging,
    ids,
    run,
    statuses,
)


@pytest.mark.parametrize("number", [1, 5])
def test_deadlines_hold_to_a_second_while_the_api_hangs(serve, number):
    account = serve(*ids(number))
    account.instead = hanging(4)
    triggers = [a_trigger(name, timeout=0.3 + int(name) / 10) for name in ids(number)]

    events = run(account, *triggers)

    assert statuses(events) == ["timeout"] * number
    for trigger, event in zip(triggers, events, strict=True):
        assert trigger.deadline <= event["at"] < trigger.deadline + 1
        assert "No poll was answered" in event["message"]


def test_every_export_is_polled_at_or_after_its_deadline(serve):
    account = serve(*ids(30))
    triggers = [a_trigger(name, timeout=0.5, poke_interval=60) for name in ids(30)]
    deadline = triggers[0].deadline

    events = run(account, *triggers, after=lambda account: account.answered)

    assert statuses(events) == ["completed"] * 30
    assert all(request.at >= deadline for name in ids(30) for request in account.polls(name))


def test_processing_exports_time_out_at_once_after_the_last_poll(serve):
    account = serve(*ids(30))
    triggers = [a_trigger(name, timeout=0.5, poke_interval=60) for name in ids(30)]

    events = run(account, *triggers, then=lambda account: None)

    assert statuses(events) == ["timeout"] * 30
    assert max(event["at"] for event in events) < triggers[0].deadline + 0.5
    assert "is processing" in events[0]["message"]
    assert [request.export_id for request in account.requests] == [None, None]


def test_late_triggers_get_their_poll_however_many_they_are(serve):
    """After an outage of the triggerer, all deadlines are over, and all exports need a poll by ID."""
    account = serve(*ids(60), latency=0.05)
    account.complete()

    events = run(account, *(a_trigger(name, wait=-100, timeout=-50) for name in ids(60)))

    assert statuses(events) == ["completed"] * 60


def test_last_poll_comes_at_the_deadline_also_during_a_pause(serve):
    account = serve("1", instead=failing(503, times=1))
    account.complete()
    trigger = a_trigger("1", timeout=1.2, poke_interval=1)  # The pause is 1.5 s or longer.

    [event] = run(account, trigger)

    assert event["status"] == "completed"
    assert trigger.deadline <= account.requests[1].at < trigger.deadline + 0.5


def test_retry_after_is_honoured_even_by_the_last_poll(serve):
    account = serve("1", instead=failing(429, times=1, Retry_After="3600"))
    account.complete()

    [event] = run(account, a_trigger("1", timeout=0.5))

    assert event["status"] == "timeout"
    assert "429" in event["message"]
    assert len(account.requests) == 1


def test_late_trigger_waits_for_a_slow_answer(serve):
    account = serve("1", latency=1.5)
    account.complete()

    events = run(account, a_trigger("1", wait=-100, timeout=-50))

    assert statuses(events) == ["completed"]


@pytest.mark.parametrize("number", [1, 5])
def test_one_transient_error_does_not_spoil_the_last_poll(serve, number):
    account = serve(*ids(number), instead=failing(503, times=1))
    account.complete()

    events = run(account, *(a_trigger(name, wait=-100, timeout=-50) for name in ids(number)))

    assert statuses(events) == ["completed"] * number


def test_an_export_that_always_fails_does_not_outlive_its_deadline(serve):
    account = serve("1", "2")
    account.instead = failing(500, on=lambda request: request.export_id == "2")
    account.listed = lambda export_ids: []
    trigger = a_trigger("2", timeout=0.5)

    async def scenario():
        other = asyncio.create_task(event_of(a_trigger("1")))
        event = await event_of(trigger)
        account.complete("1")
        return event, await other

    event, other = asyncio.run(scenario())

    assert event["status"] == "timeout"
    assert event["at"] < trigger.deadline + 3
    assert other["status"] == "completed"


@pytest.fixture
def logged(caplog, capfd):
    """Return the log of the trigger. Airflow 3 writes it to stdout, Airflow 2 also to the logger."""
    caplog.set_level(logging.INFO)
    return lambda: capfd.readouterr().out if "Export" not in caplog.text else caplog.text


def test_each_status_change_is_logged_once(serve, logged):
    account = serve("1")
    account.instead = failing(503, times=2, on=lambda request: len(account.requests) in (3, 4))

    run(account, a_trigger("1"), after=lambda account: len(account.requests) >= 8)

    log = logged()
    assert log.count("Export 1 is processing.") == 2
    assert log.count("Polling of export 1 is delayed.") == 1


def test_progress_names_the_wait_and_the_next_poll(serve, logged, monkeypatch):
    monkeypatch.setattr("airflow_provider_flowroute.triggers.cdr_export.PROGRESS_INTERVAL", 0.3)
    account = serve("1")

    run(account, a_trigger("1", poke_interval=0.5), after=lambda account: len(account.requests) >= 3)

    progress = re.findall(
        r"Still waiting for export 1, 0 minutes after the first poll\. Next poll: 20\d\d-\S+ \S+\+00:00\.\s+"
        r"Last poll: Export 1 is processing\.",
        logged(),
    )
    assert 2 <= len(progress) <= 6
