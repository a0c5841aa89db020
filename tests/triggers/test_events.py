"""The watcher reports each export that completes once, whatever is restarted in between."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import timedelta

import pytest

from airflow_provider_flowroute.api.client import FlowrouteClient
from airflow_provider_flowroute.cdr.request import CdrExportRequest
from airflow_provider_flowroute.exceptions import FlowrouteValueError
from airflow_provider_flowroute.triggers import events
from airflow_provider_flowroute.triggers.events import CdrExportCompletedEventTrigger
from airflow_provider_flowroute.utils.watch_state import CALLBACK_KEY
from tests.support import PARAMETERS, client_of, connection_json
from tests.triggers.account import a_trigger, event_of, ids, until
from tests.triggers.watching import (
    AIRFLOW_2,
    AssetStateStore,
    needs_watchers,
    reported,
    rounds,
    watching,
)


@needs_watchers
@pytest.mark.flowroute(processing_seconds=0.5)
def test_event_has_the_facts_of_the_export_and_no_link(flowroute):
    async def scenario():
        async with watching() as payloads:
            await until(lambda: any(request.on == "list" for request in flowroute.requests))
            client.create_cdr_export(PARAMETERS, "https://hooks.example.com/1")
            await until(lambda: payloads)
        return payloads

    client: FlowrouteClient = client_of(flowroute)
    [payload] = asyncio.run(scenario())

    [export] = flowroute.exports
    assert payload == {
        "export_id": export.id,
        "window_start": "2026-03-02T00:00:00+00:00",
        "window_end": "2026-03-03T00:00:00+00:00",
        "num_calls": export.num_calls,
        "total_cost": client.get_cdr_export(export.id).summary()["total_cost"],
        "fingerprint": CdrExportRequest(PARAMETERS, "https://hooks.example.com/1").fingerprint,
    }
    assert json.loads(json.dumps(payload)) == payload
    assert all(isinstance(value, str | int) for value in payload.values())


@needs_watchers
def test_first_start_reports_what_completes_from_then_on(serve):
    async def scenario():
        async with watching(store) as payloads:
            await until(lambda: store.values)
            account.complete("2")
            await until(lambda: payloads)
            await rounds(account)
        return payloads

    account, store = serve("1", "2", "3"), AssetStateStore()
    account.complete("1")

    assert reported(asyncio.run(scenario())) == ["2"]


@needs_watchers
def test_restart_repeats_no_event_and_reports_what_was_missed(serve):
    async def scenario():
        async with watching(store):
            await until(lambda: store.values)
        account.complete("1")
        async with watching(store) as first:
            await until(lambda: first)
        account.complete("3")
        async with watching(store) as second:
            await until(lambda: second)
            await rounds(account)
        return first, second

    account, store = serve("1", "2", "3"), AssetStateStore()
    first, second = asyncio.run(scenario())

    assert (reported(first), reported(second)) == (["1"], ["3"])


@needs_watchers
def test_without_a_store_events_start_with_the_triggerer(serve):
    """Airflow 3.0 to 3.2 have no store."""

    async def scenario():
        async with watching():
            await rounds(account)
        account.complete("1")
        async with watching() as payloads:
            await rounds(account)
            account.complete("2")
            await until(lambda: payloads)
        return payloads

    account = serve("1", "2")

    assert reported(asyncio.run(scenario())) == ["2"]


@needs_watchers
def test_oldest_export_of_three_pages_may_complete_last(serve):
    """The list is in the order of creation, and exports complete in any order."""

    async def scenario():
        async with watching(store) as payloads:
            await until(lambda: store.values)
            for export_id in ("450", "1", "225"):
                account.complete(export_id)
                await until(lambda: reported(payloads)[-1:] == [export_id])  # noqa: B023
            account.complete("2")
        async with watching(store) as after:
            await until(lambda: after)
            account.complete(*ids(450))
            await until(lambda: len(after) == 447)
        return reported(payloads), reported(after)

    account, store = serve(*ids(450)), AssetStateStore()
    before, after = asyncio.run(scenario())

    assert before == ["450", "1", "225"]
    assert after[0] == "2"
    assert sorted([*before, *after], key=int) == ids(450)


@needs_watchers
def test_last_event_of_a_burst_comes_alone(serve):
    """Airflow starts no run for an event that arrives while another waits for its run; see GAP."""

    async def scenario():
        async with watching(store) as payloads:
            await until(lambda: store.values)
            account.complete()
            await until(lambda: payloads)
            first, began = reported(payloads), time.monotonic()
            await until(lambda: len(payloads) == 20)
            took = time.monotonic() - began
            account.statuses["21"] = "completed"
            await until(lambda: len(payloads) == 21)
        return first, took, time.monotonic() - began - took

    account, store = serve(*ids(20)), AssetStateStore()
    first, until_last, until_next = asyncio.run(scenario())

    assert first == ids(19)
    assert until_last >= 0.2
    assert until_next >= 0.2


@needs_watchers
def test_round_costs_one_request_however_many_triggers_wait(serve):
    async def scenario():
        async with (
            watching(AssetStateStore(), poke_interval=1) as one,
            watching(poke_interval=1) as other,
            watching(poke_interval=1, max_window=60),
        ):
            waits = [asyncio.create_task(event_of(a_trigger(name, poke_interval=1))) for name in ids(20)]
            await rounds(account)
            account.complete("1")
            await until(lambda: one and other)
            account.complete()
            await asyncio.gather(*waits)

    account = serve(*ids(20))
    began = time.time()
    asyncio.run(scenario())

    lists = [request for request in account.lists if "status" not in request.query]
    assert len(lists) <= (time.time() - began) + 3
    assert len({request.client for request in account.requests}) == 1


@needs_watchers
def test_later_rounds_read_only_pages_that_can_have_news(serve):
    async def scenario():
        async with watching(store):
            await until(lambda: store.values)
            pages_of_first_round = len(account.lists)
            await rounds(account, 3)
        return pages_of_first_round

    account, store = serve(*ids(450)), AssetStateStore()
    account.complete(*ids(440))

    assert asyncio.run(scenario()) == 3
    assert {request.offset for request in account.lists[3:]} == {0}


@needs_watchers
@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"min_window": timedelta(days=1)}, ["day", "filtered", "week"]),
        ({"max_window": 86400}, ["hour", "day", "filtered"]),
        ({"filter_parameters": {}}, ["hour", "day", "week"]),
        ({"filter_parameters": {"tollfree_only": True}}, ["filtered"]),
        ({"callback_url_prefix": "https://hooks.example.com/"}, ["week"]),
    ],
)
@pytest.mark.flowroute(processing_seconds=0.5)
def test_filters_select_the_exports_to_report(flowroute, filters, expected):
    requests = {
        "hour": ({**PARAMETERS, "start_call_start_time": "2026-03-02 23:00:00"}, None),
        "day": (PARAMETERS, None),
        "filtered": ({**PARAMETERS, "tollfree_only": True}, None),
        "week": (
            {**PARAMETERS, "start_call_start_time": "2026-02-24 00:00:00"},
            "https://hooks.example.com/flowroute",
        ),
    }

    async def scenario():
        store = AssetStateStore()
        async with watching(store, **filters) as payloads, watching(AssetStateStore()) as everything:
            await until(lambda: store.values)
            names = {
                client.create_cdr_export(parameters, url).id: name
                for name, (parameters, url) in requests.items()
            }
            await until(lambda: len(everything) == len(requests))
            await until(lambda: len(payloads) >= len(expected))
        return [names[export_id] for export_id in reported(payloads)]

    client = client_of(flowroute)
    assert sorted(asyncio.run(scenario())) == sorted(expected)


@needs_watchers
@pytest.mark.flowroute(processing_seconds=0.1)
def test_state_has_only_exports_whose_files_exist(flowroute):
    """The expiry of an export is a time of Flowroute's clock."""

    async def scenario():
        async with watching(store) as payloads:
            await until(lambda: store.values)
            flowroute.clock_ahead = 2 - 3 * 86400  # the file expires in two seconds
            client.create_cdr_export(PARAMETERS)
            await until(lambda: len(payloads) == 1)
            await until(lambda: max(store.state["reported"].values()) < time.time())
            flowroute.clock_ahead = 0
            client.create_cdr_export(PARAMETERS)
            await until(lambda: len(payloads) == 2)
        return reported(payloads)

    client, store = client_of(flowroute), AssetStateStore()
    first, second = asyncio.run(scenario())

    assert first != second
    assert set(store.state["reported"]) == {second}


@needs_watchers
def test_callback_causes_a_poll_at_once(serve, monkeypatch):
    async def scenario():
        async with watching(store, poke_interval=3600) as payloads:
            await until(lambda: store.values)
            account.complete("1")
            await store.aset(CALLBACK_KEY, {"at": 1.5})
            await until(lambda: payloads)
            lists = len(account.lists)
            await asyncio.sleep(0.3)
        return payloads, len(account.lists) - lists

    monkeypatch.setattr(events, "TICK", 0.05)
    account, store = serve("1"), AssetStateStore()
    with_secret = json.loads(connection_json(account.url)) | {"extra": {"callback_secret": "s" * 32}}
    monkeypatch.setenv("AIRFLOW_CONN_FLOWROUTE_DEFAULT", json.dumps(with_secret))
    payloads, further_requests = asyncio.run(scenario())

    assert reported(payloads) == ["1"]
    assert further_requests == 0


@needs_watchers
def test_watcher_is_serialized_with_json_only():
    trigger = CdrExportCompletedEventTrigger(
        "my_flowroute",
        timedelta(minutes=5),
        min_window=timedelta(hours=1),
        filter_parameters={"direction": "Inbound"},
    )
    path, arguments = trigger.serialize()
    again = CdrExportCompletedEventTrigger(**json.loads(json.dumps(arguments)))

    assert path == "airflow_provider_flowroute.triggers.events.CdrExportCompletedEventTrigger"
    assert again.serialize() == (path, arguments)
    assert arguments["filter_parameters"] == {"direction": "inbound"}


@needs_watchers
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"poke_interval": 0}, "poke_interval is not a duration above 0"),
        ({"min_window": "1 day"}, "min_window is not a duration above 0"),
        ({"filter_parameters": {"tollfree": True}}, "unknown filter 'tollfree'"),
    ],
)
def test_mistake_in_a_watcher_breaks_the_dag_import(arguments, message):
    with pytest.raises(FlowrouteValueError, match=message):
        CdrExportCompletedEventTrigger(**arguments)


@pytest.mark.skipif(not AIRFLOW_2, reason="Airflow 3 has watchers.")
def test_airflow_2_gets_a_clear_error():
    with pytest.raises(NotImplementedError, match="needs Airflow 3"):
        CdrExportCompletedEventTrigger()
