"""All triggers of a connection share one thread, one session and few requests."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_provider_flowroute.api.client import PAGE_SIZE
from tests.triggers.account import (
    BUSY,
    a_trigger,
    event_of,
    failing,
    hanging,
    ids,
    run,
    statuses,
    threads,
    until,
)


def test_triggers_of_a_connection_share_thread_and_socket(serve):
    account = serve(*ids(50))
    seen = []

    def after(account):
        seen.append(len(threads()))
        return len(account.lists) >= 5

    events = run(account, *map(a_trigger, ids(50)), after=after)

    assert statuses(events) == ["completed"] * 50
    assert max(seen) == 1
    assert len({request.client for request in account.requests}) == 1


def test_many_exports_cost_one_list_request_a_round(serve):
    account = serve(*ids(150))

    events = run(account, *map(a_trigger, ids(150)), after=lambda account: len(account.lists) >= 5)

    assert statuses(events) == ["completed"] * 150
    assert all(len(account.polls(export_id)) == 1 for export_id in ids(150))  # the confirmation


def test_a_single_export_is_polled_by_id(serve):
    account = serve("1")

    run(account, a_trigger("1"), after=lambda account: len(account.requests) >= 3)

    assert account.lists == []


def test_list_is_read_only_as_far_as_needed(serve):
    account = serve(*ids(5 * PAGE_SIZE))
    newest = ids(5 * PAGE_SIZE)[-PAGE_SIZE - 100 :]

    run(account, *map(a_trigger, newest), after=lambda account: len(account.lists) >= 6)

    assert {request.offset for request in account.lists} == {0, PAGE_SIZE}
    assert {request.query["status"] for request in account.lists} == {"processing"}


def test_triggers_that_start_apart_are_polled_together(serve):
    account = serve(*ids(20))
    triggers = [a_trigger(export_id, wait=int(export_id) / 40, poke_interval=0.4) for export_id in ids(20)]

    run(account, *triggers, after=lambda account: len(account.lists) >= 4)

    assert len(account.requests) <= 20 + len(account.lists) + 20  # first poll, rounds, confirmation


def test_an_export_with_two_triggers_is_polled_once(serve):
    """A restarted triggerer may run a trigger while the first one still runs."""
    account = serve("1")

    events = run(account, a_trigger("1"), a_trigger("1"), after=lambda account: len(account.requests) >= 3)

    assert statuses(events) == ["completed"] * 2
    assert account.lists == []


def test_last_trigger_closes_thread_and_session(serve):
    account = serve("1", "2", latency=0.05)

    async def scenario():
        first, second = (asyncio.create_task(event_of(a_trigger(export_id))) for export_id in ("1", "2"))
        await until(lambda: account.requests)
        account.complete("1")
        await first
        assert len(threads()) == 1
        account.complete("2")
        await second
        await until(lambda: not threads())

    asyncio.run(scenario())


def test_cancelled_trigger_leaves_the_others_untouched(serve):
    account = serve("1", "2")

    async def scenario():
        first, second = (asyncio.create_task(event_of(a_trigger(export_id))) for export_id in ("1", "2"))
        await until(lambda: account.requests)
        first.cancel()
        await until(lambda: first.done())
        polls = len(account.polls("1"))
        await until(lambda: len(account.polls("2")) >= 3)
        account.complete()
        assert (await second)["status"] == "completed"
        assert len(account.polls("1")) <= polls + 1  # a request may have been on its way

    asyncio.run(scenario())


def test_event_loops_in_several_threads_do_not_meet(serve):
    account = serve(*ids(30))

    def in_a_loop(export_ids):
        return run(account, *map(a_trigger, export_ids), after=lambda account: len(account.lists) >= 6)

    with ThreadPoolExecutor() as executor:
        results = list(executor.map(in_a_loop, (ids(30)[start::3] for start in range(3))))

    assert [statuses(events) for events in results] == [["completed"] * 10] * 3


def test_default_executor_stays_free_while_the_api_hangs(serve):
    account = serve(*ids(40), instead=hanging(1))

    async def scenario():
        tasks = [asyncio.create_task(event_of(a_trigger(export_id))) for export_id in ids(40)]
        await until(lambda: account.requests)
        started = time.monotonic()
        await asyncio.gather(*(asyncio.to_thread(int) for _ in range(20)))
        elapsed = time.monotonic() - started
        account.instead = hanging(0)
        account.complete()
        await asyncio.gather(*tasks)
        return elapsed

    assert asyncio.run(scenario()) < 0.5


@pytest.mark.parametrize(
    "listed",
    [
        lambda export_ids: [],
        lambda export_ids: sorted(export_ids, key=lambda name: hash(name)),
        lambda export_ids: export_ids[: len(export_ids) // 2],
        lambda export_ids: export_ids[:1] * PAGE_SIZE,
    ],
    ids=["empty", "unsorted", "shorter", "one export only"],
)
def test_every_export_completes_whatever_the_list_shows(serve, listed):
    account = serve(*ids(250), listed=listed)

    events = run(account, *map(a_trigger, ids(250)), after=lambda account: len(account.lists) >= 2)

    assert statuses(events) == ["completed"] * 250


def test_a_terminal_status_in_the_list_is_confirmed_by_id(serve):
    """A list that ignores the filter shows every status; only the poll by ID decides."""
    export_ids = ids(6)
    account = serve(*export_ids)

    def ignore_filter(answer, request):
        request.query.pop("status", None)
        return False

    account.instead = ignore_filter
    account.statuses |= {"1": "completed", "2": "failed", "3": "archived"}

    events = run(
        account,
        *map(a_trigger, export_ids),
        after=lambda account: len(account.lists) >= 2,
    )

    assert statuses(events) == ["completed", "failed", "error", "completed", "completed", "completed"]
    assert "archived" in events[2]["message"]
    assert len(account.polls("1")) == len(account.polls("2")) == len(account.polls("3")) == 1


def test_export_that_disappears_ends_its_own_trigger_only(serve):
    account = serve(*ids(5))

    def disappear(account):
        del account.statuses["3"]
        account.complete()

    events = run(
        account, *map(a_trigger, ids(5)), after=lambda account: len(account.lists) >= 2, then=disappear
    )

    assert statuses(events) == ["completed", "completed", "error", "completed", "completed"]
    assert "404" in events[2]["message"]


@pytest.mark.parametrize(
    ("status", "body"), [(403, BUSY), (404, BUSY), (200, {"data": "none"}), (200, {"data": [{"id": 1}]})]
)
def test_account_without_a_usable_list_is_polled_by_id(serve, status, body):
    account = serve(*ids(5))
    account.instead = failing(status, on=lambda request: request.export_id is None, body=body)

    events = run(account, *map(a_trigger, ids(5)), after=lambda account: len(account.polls("1")) >= 2)

    assert statuses(events) == ["completed"] * 5


def test_a_list_that_is_down_does_not_stop_the_polls_by_id(serve):
    account = serve(*ids(5))
    account.instead = failing(503, on=lambda request: request.export_id is None)

    events = run(account, *map(a_trigger, ids(5)), after=lambda account: len(account.polls("1")) >= 2)

    assert statuses(events) == ["completed"] * 5
