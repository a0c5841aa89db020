"""All tries of a task together create one export. A cleared task creates a new one."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_flowroute.exceptions import (
    CdrExportFailedError,
    CdrExportTimeoutError,
    CdrExportUncertainError,
    FlowrouteRateLimitError,
    FlowrouteServerError,
    FlowrouteUnreachableError,
)
from airflow_provider_flowroute.simulator import FlowrouteSimulator
from tests.operators.tries import KilledError, Task
from tests.support import TaskStateStore

SAMPLE = {"start_call_start_time": "2019-06-25", "start_call_end_time": "2019-06-26"}
MODES = {
    "plain": {},
    "waiting": {"wait_for_completion": True, "deferrable": False},
    "deferrable": {"wait_for_completion": True, "deferrable": True},
}

modes = pytest.mark.parametrize("mode", MODES)
stores = pytest.mark.parametrize("has_store", [True, False], ids=["with a store", "without"])


@pytest.fixture
def a_task(flowroute: FlowrouteSimulator, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Task]:
    def make(has_store: bool = True, mode: str = "plain", **options: Any) -> Task:
        return Task(flowroute, monkeypatch, has_store, **{**SAMPLE, **MODES[mode], **options})

    return make


def kinds(flowroute: FlowrouteSimulator) -> list[str]:
    return [request.on for request in flowroute.requests]


@stores
def test_normal_try_sends_exactly_one_request(flowroute, a_task, has_store):
    export_id = a_task(has_store).attempt()

    assert [export.id for export in flowroute.exports] == [export_id]
    assert kinds(flowroute) == ["create"]


@stores
@modes
def test_lost_reply_is_recovered_in_the_same_try(flowroute, a_task, has_store, mode):
    flowroute.add_fault("lost_reply")

    export_id = a_task(has_store, mode).attempt()

    assert [export.id for export in flowroute.exports] == [export_id]


@stores
@modes
def test_try_killed_at_any_step_leaves_one_export(flowroute, a_task, has_store, mode):
    for kill_at in itertools.count():
        flowroute.reset()
        task = a_task(has_store, mode)
        try:
            task.attempt(kill_at)
        except KilledError:
            export_id = task.attempt()
            assert [export.id for export in flowroute.exports] == [export_id], kill_at
        else:
            break
    assert kill_at >= (6 if has_store else 2)


@stores
@pytest.mark.flowroute(processing_seconds=float("inf"))
def test_try_killed_after_its_deferral_leaves_one_export(flowroute, monkeypatch, has_store):
    for kill_at in itertools.count():
        flowroute.reset()
        task = Task(flowroute, monkeypatch, has_store, **SAMPLE, **MODES["deferrable"])
        assert task.attempt() is None
        flowroute.complete(flowroute.exports[0].id)
        try:
            task.resume(kill_at)
        except KilledError:
            assert task.attempt() == flowroute.exports[0].id
            assert len(flowroute.exports) == 1
        else:
            break
    assert kill_at >= 2


def test_next_try_reads_the_known_export_by_id(flowroute, a_task):
    task = a_task(mode="waiting")
    with pytest.raises(KilledError):
        task.attempt(kill_at=6)
    seen = len(flowroute.requests)
    task.attempt()

    assert set(kinds(flowroute)[seen:]) == {"status"}


@stores
def test_retry_lists_before_recreating(flowroute, a_task, has_store):
    """If the first request never reached Flowroute, the next try searches the list before it creates the export."""
    flowroute.add_fault("dropped_connection", on="create")
    task = a_task(has_store)
    with pytest.raises(CdrExportUncertainError):
        task.attempt()
    seen = len(flowroute.requests)
    export_id = task.attempt()

    assert [export.id for export in flowroute.exports] == [export_id]
    assert kinds(flowroute)[seen:] == ["list", "create"]


@stores
def test_no_export_is_created_while_the_list_is_unreadable(flowroute, a_task, has_store):
    flowroute.add_fault("lost_reply")
    flowroute.add_fault("server_error", on="list", times=None)
    task = a_task(has_store)
    with pytest.raises(CdrExportUncertainError):
        task.attempt()
    with pytest.raises(FlowrouteServerError):
        task.attempt()
    flowroute.clear_faults()
    export_id = task.attempt()

    assert [export.id for export in flowroute.exports] == [export_id]


def test_retry_after_a_refusal_creates_without_listing(flowroute, a_task):
    """A 429 proves that no export exists."""
    flowroute.add_fault("rate_limit", on="create", times=2)
    task = a_task()
    with pytest.raises(FlowrouteRateLimitError):
        task.attempt()
    task.attempt()

    assert kinds(flowroute) == ["create"] * 3


@stores
@modes
def test_cleared_task_creates_a_new_export_without_listing(flowroute, a_task, has_store, mode):
    task = a_task(has_store, mode)
    first = task.attempt()
    task.clear()
    seen = len(flowroute.requests)
    second = task.attempt()

    assert [export.id for export in flowroute.exports] == [first, second]
    assert kinds(flowroute)[seen] == "create"
    assert "list" not in kinds(flowroute)


@pytest.mark.flowroute(processing_seconds=float("inf"))
def test_task_cleared_after_a_failure_creates_a_new_export(flowroute, monkeypatch):
    task = Task(flowroute, monkeypatch, True, **SAMPLE, **MODES["waiting"])
    for _ in range(3):
        with pytest.raises(CdrExportTimeoutError):
            task.attempt()
    assert len(flowroute.exports) == 1
    task.clear()
    with pytest.raises(CdrExportTimeoutError):
        task.attempt()

    assert len(flowroute.exports) == 2


@stores
@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.flowroute(processing_seconds=float("inf"))
def test_failed_export_is_recreated_and_never_resumed(flowroute, monkeypatch, has_store, deferrable):
    mode = MODES["deferrable" if deferrable else "waiting"]
    task = Task(flowroute, monkeypatch, has_store, **SAMPLE, **mode)
    task.meanwhile = lambda: flowroute.fail(flowroute.exports[-1].id)
    if deferrable:
        assert task.attempt() is None
        flowroute.fail(flowroute.exports[-1].id)
    with pytest.raises(CdrExportFailedError):
        task.resume() if deferrable else task.attempt()
    if task.store is not None:
        assert task.store.value is None
    task.meanwhile = lambda: flowroute.complete(flowroute.exports[-1].id)
    second = task.attempt()
    if second is None:
        flowroute.complete(flowroute.exports[-1].id)
        second = task.resume()

    assert [(export.id == second, export.status) for export in flowroute.exports] == [
        (False, "failed"),
        (True, "completed"),
    ]


@pytest.mark.flowroute(processing_seconds=float("inf"))
def test_try_killed_before_the_export_fails_recreates_it(flowroute, monkeypatch):
    """The next try finds the stored export failed and creates a new one."""
    task = Task(flowroute, monkeypatch, True, **SAMPLE, **MODES["waiting"])
    with pytest.raises(KilledError):
        task.attempt(kill_at=6)
    flowroute.fail(flowroute.exports[0].id)
    task.meanwhile = lambda: flowroute.complete(flowroute.exports[-1].id)

    assert task.attempt() == flowroute.exports[1].id
    assert len(flowroute.exports) == 2


@modes
@pytest.mark.flowroute(processing_seconds=float("inf"))
def test_state_is_deleted_after_success(flowroute, monkeypatch, mode):
    task = Task(flowroute, monkeypatch, True, **SAMPLE, **MODES[mode])
    task.meanwhile = lambda: flowroute.complete(flowroute.exports[-1].id)
    if task.attempt() is None:
        assert task.store is not None
        assert task.store.value["export_id"] == flowroute.exports[0].id
        flowroute.complete(flowroute.exports[0].id)
        task.resume()

    assert task.store is not None
    assert task.store.value is None


def test_foreign_state_is_ignored(flowroute, a_task):
    task = a_task()
    task.store = TaskStateStore({"cycle": "?"})

    assert task.attempt() == flowroute.exports[0].id


def test_stored_export_unknown_to_the_account_is_searched(flowroute, a_task):
    task = a_task()
    with pytest.raises(KilledError):
        task.attempt(kill_at=5)
    task.store.value["export_id"] = "4711"

    assert task.attempt() == flowroute.exports[0].id
    assert len(flowroute.exports) == 1


def test_changed_request_creates_another_export(flowroute, a_task):
    task = a_task()
    with pytest.raises(KilledError):
        task.attempt(kill_at=5)
    task.options["filter_parameters"] = {"direction": "inbound"}
    task.attempt()

    assert len(flowroute.exports) == 2


@stores
def test_without_durable_every_try_creates_an_export(flowroute, a_task, has_store):
    flowroute.add_fault("lost_reply")
    task = a_task(has_store, durable=False)
    with pytest.raises(FlowrouteUnreachableError):
        task.attempt()
    export_id = task.attempt()

    assert [export.id for export in flowroute.exports][1:] == [export_id]
    assert kinds(flowroute) == ["create", "create"]


@stores
def test_callback_url_separates_two_tasks_with_the_same_window(flowroute, a_task, has_store):
    """Neither task resumes the export of the other."""
    first, second = (
        a_task(has_store, callback_url=f"http://127.0.0.1:9/{name}") for name in ("first", "second")
    )
    flowroute.add_fault("lost_reply", times=2)
    ids = [first.attempt(), second.attempt()]

    assert [export.id for export in flowroute.exports] == ids


def test_older_export_of_an_identical_task_is_not_resumed(flowroute, a_task):
    """The other task requested its export two minutes before."""
    flowroute.clock_ahead = -120
    a_task().attempt()
    flowroute.clock_ahead = 0
    flowroute.add_fault("dropped_connection", on="create")
    task = a_task()
    with pytest.raises(CdrExportUncertainError):
        task.attempt()

    assert task.attempt() == flowroute.exports[1].id


def test_log_shows_window_resumption_and_completion(flowroute, a_task, caplog, capsys):
    task = a_task(mode="waiting")
    with caplog.at_level("INFO"):
        with pytest.raises(KilledError):
            task.attempt(kill_at=6)
        task.attempt()
    # Airflow 3 prints the operator's log instead of using the standard library, as the client does.
    printed = capsys.readouterr().out
    log = printed if "Requesting the calls" in printed else caplog.text

    window = "Requesting the calls of 2019-06-25 00:00:00 .. 2019-06-26 00:00:00 UTC (filters: none)."
    lines = [
        window,
        window,
        "Resuming export 38647 from an earlier try (status: completed).",
        "Export 38647 is completed.",
    ]
    assert re.findall("|".join(re.escape(line) for line in lines), log) == lines
    assert caplog.text.count("Created export 38647.") == 1


def test_refused_keys_fail_a_later_try_without_retries(flowroute, a_task):
    task = a_task()
    with pytest.raises(KilledError):
        task.attempt(kill_at=5)
    flowroute.add_fault("unauthorized", on="status")

    with pytest.raises(AirflowFailException):
        task.attempt()
