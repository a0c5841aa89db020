"""An error delays the events of a watcher, and neither ends the watch nor repeats an event."""

from __future__ import annotations

import asyncio
import json
from importlib.metadata import version

import pytest

from airflow_provider_flowroute.triggers import events
from tests.support import connection_json
from tests.triggers.account import a_trigger, event_of, failing, until
from tests.triggers.watching import (
    AssetStateStore,
    Log,
    needs_watchers,
    reported,
    rounds,
    watching,
)


@pytest.fixture
def logged(capfd: pytest.CaptureFixture[str]) -> Log:
    return Log(capfd)


@needs_watchers
def test_outage_delays_events_and_ends_no_watch(serve, logged):
    async def scenario():
        async with watching(store) as payloads:
            await until(lambda: store.values)
            account.instead = failing(503, times=3)
            account.complete("1")
            await until(lambda: payloads)
        return payloads

    account, store = serve("1"), AssetStateStore()

    assert reported(asyncio.run(scenario())) == ["1"]
    assert "are delayed" in logged()


@needs_watchers
def test_watch_continues_with_the_new_keys_of_the_connection(serve, monkeypatch, logged):
    async def scenario():
        async with watching(store) as payloads:
            await until(lambda: store.values)
            account.instead = failing(401, on=lambda request: True)
            account.complete("1")
            await until(lambda: "are delayed" in logged())
            keys = json.loads(connection_json(account.url)) | {"password": "the-new-secret-key"}
            monkeypatch.setenv("AIRFLOW_CONN_FLOWROUTE_DEFAULT", json.dumps(keys))
            account.instead = lambda answer, request: False
            await until(lambda: payloads)
        return payloads

    monkeypatch.setattr(events, "ERROR_PAUSE", 0.2)
    account, store = serve("1"), AssetStateStore()

    assert reported(asyncio.run(scenario())) == ["1"]


@needs_watchers
def test_watch_waits_for_a_connection_that_does_not_exist_yet(serve, monkeypatch, logged):
    async def scenario():
        store = AssetStateStore()
        async with watching(store, flowroute_conn_id="later") as payloads:
            await until(lambda: "are delayed" in logged())
            monkeypatch.setenv("AIRFLOW_CONN_LATER", connection_json(account.url))
            await until(lambda: store.values)
            account.complete("1")
            await until(lambda: payloads)
        return payloads

    monkeypatch.setattr(events, "ERROR_PAUSE", 0.2)
    account = serve("1")

    assert reported(asyncio.run(scenario())) == ["1"]


@needs_watchers
def test_invalid_list_stops_no_wait_of_the_connection(serve, monkeypatch, logged):
    """The watcher tries again, while the waits poll by ID."""

    def invalid_list(answer, request):
        if request.export_id is None:
            answer.send(200, {"data": "none"})
        return request.export_id is None

    async def scenario():
        async with watching(store) as payloads:
            await until(lambda: store.values)
            account.instead = invalid_list
            await until(lambda: "has no list of data" in logged())
            wait = asyncio.create_task(event_of(a_trigger("1", wait=0.3)))
            account.complete("1")
            event = await wait
            account.instead = lambda answer, request: False
            await until(lambda: payloads)
        return event, payloads

    monkeypatch.setattr(events, "ERROR_PAUSE", 0.2)
    account, store = serve("1"), AssetStateStore()
    event, payloads = asyncio.run(scenario())

    assert event["status"] == "completed"
    assert reported(payloads) == ["1"]


@needs_watchers
@pytest.mark.skipif(version("apache-airflow") < "3.3", reason="This Airflow has no store.")
def test_event_that_cannot_be_marked_comes_once_it_can(serve, logged):
    """Otherwise it would come again after a restart."""

    async def scenario():
        async with watching(store) as payloads:
            await until(lambda: store.values)
            store.fails = True
            account.complete("1")
            await until(lambda: "cannot use the state store" in logged())
            await rounds(account)
            assert not payloads
            store.fails = False
            await until(lambda: payloads)
            await rounds(account)
        return payloads

    account, store = serve("1"), AssetStateStore()

    assert reported(asyncio.run(scenario())) == ["1"]


@needs_watchers
def test_kill_within_seconds_of_an_event_names_it_in_the_log(serve, monkeypatch, logged):
    """Airflow stores an event up to a second after the trigger gave it."""

    async def scenario(until_confirmed: bool):
        async with watching(store) as payloads:
            await until(lambda: store.values)
            account.complete("1" if until_confirmed else "2")
            await until(lambda: payloads)
            if until_confirmed:
                await until(lambda: not store.state["unconfirmed"])
        logged.clear()
        async with watching(store):
            await rounds(account)

    monkeypatch.setattr(events, "CONFIRM_AFTER", 0.2)
    monkeypatch.setattr(events, "TICK", 0.1)
    account, store = serve("1", "2"), AssetStateStore()

    asyncio.run(scenario(until_confirmed=True))
    assert "may not have stored" not in logged()
    monkeypatch.setattr(events, "CONFIRM_AFTER", 60)
    asyncio.run(scenario(until_confirmed=False))
    assert "while it reported exports: 2.\n" in logged()
