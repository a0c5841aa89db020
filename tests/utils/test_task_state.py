"""What one try of a task leaves for the next, and what it does not."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_flowroute.api.idempotency import RequestTime
from airflow_provider_flowroute.utils.task_state import KEY, ExportTaskState, PriorRequest
from tests.support import TaskStateStore

ASKED_AT = datetime(2026, 11, 20, 1, 2, 3, 456789, tzinfo=UTC)
GOOD = {"cycle": 2, "request": "abc", "asked_at": "2026-11-20T01:02:03.456789+00:00", "export_id": "7"}


def context(store: Any = None, try_number: int = 1, max_tries: int = 2, retries: int = 2) -> dict[str, Any]:
    ti = SimpleNamespace(try_number=try_number, max_tries=max_tries, task=SimpleNamespace(retries=retries))
    dag_run = SimpleNamespace(start_date=ASKED_AT)
    return {"ti": ti, "dag_run": dag_run, **({} if store is None else {"task_state_store": store})}


def test_a_note_is_there_for_the_next_try_of_the_same_cycle():
    store = TaskStateStore()
    ExportTaskState(context(store)).save("abc", ASKED_AT)
    assert ExportTaskState(context(store, try_number=2)).load("abc") == PriorRequest(RequestTime(ASKED_AT))

    ExportTaskState(context(store)).save("abc", ASKED_AT, "7")
    assert ExportTaskState(context(store, try_number=2)).load("abc") == PriorRequest(
        RequestTime(ASKED_AT), "7"
    )


def test_a_note_of_another_request_does_not_count():
    assert ExportTaskState(context(TaskStateStore(GOOD))).load("another") is None


@pytest.mark.parametrize("retries", [0, 2])
def test_after_a_clear_the_note_of_the_cycle_before_does_not_count(retries: int):
    store = TaskStateStore()
    ExportTaskState(context(store, 1, retries, retries)).save("abc", ASKED_AT, "7")

    assert ExportTaskState(context(store, 2, 1 + retries, retries)).load("abc") is None


@pytest.mark.parametrize(
    "note",
    [
        "7",
        7,
        [],
        {},
        {**GOOD, "asked_at": "yesterday"},
        {**GOOD, "asked_at": "2026-11-20T01:02:03"},
        {**GOOD, "asked_at": 7},
        {**GOOD, "export_id": 7},
        {**GOOD, "export_id": ""},
        {name: value for name, value in GOOD.items() if name != "export_id"},
        {name: value for name, value in GOOD.items() if name != "cycle"},
    ],
)
def test_a_note_that_is_not_ours_is_not_used_and_said_so(note: Any, caplog: pytest.LogCaptureFixture):
    assert ExportTaskState(context(TaskStateStore(note))).load("abc") is None
    assert KEY in caplog.text


@pytest.mark.parametrize("note", [None, GOOD])
def test_what_is_as_it_should_be_is_not_worth_a_line(note: Any, caplog: pytest.LogCaptureFixture):
    ExportTaskState(context(TaskStateStore(note))).load("abc")
    assert caplog.text == ""


@pytest.mark.parametrize("form", ["list", "tuple", "one", "none"])
def test_a_note_is_dropped_only_once_the_success_is_recorded(form: str):
    store = TaskStateStore(GOOD)
    called: list[str] = []

    def users(context: Any) -> None:
        called.append("the user's")

    given: dict[str, Any] = {"list": [users], "tuple": (users,), "one": users, "none": None}
    operator = SimpleNamespace(on_success_callback=given[form])

    ExportTaskState(context(store)).clear_on_success(operator)
    assert store.value == GOOD

    for callback in operator.on_success_callback:
        callback({})
    assert store.value is None
    assert called == ([] if form == "none" else ["the user's"])


@pytest.mark.parametrize(("try_number", "max_tries"), [(1, 2), (4, 5)])
def test_without_a_store_the_first_try_of_a_cycle_knows_that_nothing_was_asked_for(
    try_number: int, max_tries: int
):
    assert ExportTaskState(context(None, try_number, max_tries)).load("abc") is None


@pytest.mark.parametrize(("try_number", "max_tries"), [(2, 2), (3, 2), (5, 5), (6, 5)])
def test_without_a_store_or_a_record_a_later_try_may_find_what_was_made_since_the_runs_start(
    try_number: int, max_tries: int, mocker: Any
):
    mocker.patch("airflow_provider_flowroute.utils.task_state.AIRFLOW_V_3_0_PLUS", True)

    found = ExportTaskState(context(None, try_number, max_tries)).load("abc")

    assert found == PriorRequest(RequestTime(ASKED_AT, exact=False))


def test_without_a_task_instance_nothing_is_known_and_nothing_kept():
    store = TaskStateStore()
    cycle = ExportTaskState({"task_state_store": store})
    cycle.save("abc", ASKED_AT + timedelta(0))

    assert (cycle.load("abc"), store.value) == (None, None)


def test_a_note_is_json_of_a_few_words():
    store = TaskStateStore()
    ExportTaskState(context(store)).save("abc", ASKED_AT, "7")

    assert json.loads(json.dumps(store.value)) == GOOD
