"""The state that one try of a task saves for the next."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_flowroute.api.idempotency import RequestTime
from airflow_provider_flowroute.utils.task_state import KEY, ExportTaskState, PriorRequest
from tests.support import TaskStateStore

REQUESTED_AT = datetime(2026, 11, 20, 1, 2, 3, 456789, tzinfo=UTC)
GOOD = {"cycle": 2, "request": "abc", "requested_at": "2026-11-20T01:02:03.456789+00:00", "export_id": "7"}


def context(store: Any = None, try_number: int = 1, max_tries: int = 2, retries: int = 2) -> dict[str, Any]:
    ti = SimpleNamespace(try_number=try_number, max_tries=max_tries, task=SimpleNamespace(retries=retries))
    dag_run = SimpleNamespace(start_date=REQUESTED_AT)
    return {"ti": ti, "dag_run": dag_run, **({} if store is None else {"task_state_store": store})}


def test_next_try_loads_the_saved_state():
    store = TaskStateStore()
    ExportTaskState(context(store)).save("abc", REQUESTED_AT)
    assert ExportTaskState(context(store, try_number=2)).load("abc") == PriorRequest(
        RequestTime(REQUESTED_AT)
    )

    ExportTaskState(context(store)).save("abc", REQUESTED_AT, "7")
    assert ExportTaskState(context(store, try_number=2)).load("abc") == PriorRequest(
        RequestTime(REQUESTED_AT), "7"
    )


def test_state_of_another_request_is_ignored():
    assert ExportTaskState(context(TaskStateStore(GOOD))).load("another") is None


@pytest.mark.parametrize("retries", [0, 2])
def test_state_from_before_a_clear_is_ignored(retries: int):
    store = TaskStateStore()
    ExportTaskState(context(store, 1, retries, retries)).save("abc", REQUESTED_AT, "7")

    assert ExportTaskState(context(store, 2, 1 + retries, retries)).load("abc") is None


@pytest.mark.parametrize(
    "stored",
    [
        "7",
        7,
        [],
        {},
        {**GOOD, "requested_at": "yesterday"},
        {**GOOD, "requested_at": "2026-11-20T01:02:03"},
        {**GOOD, "requested_at": 7},
        {**GOOD, "export_id": 7},
        {**GOOD, "export_id": ""},
        {name: value for name, value in GOOD.items() if name != "export_id"},
        {name: value for name, value in GOOD.items() if name != "cycle"},
    ],
)
def test_invalid_state_is_ignored_with_a_warning(stored: Any, caplog: pytest.LogCaptureFixture):
    assert ExportTaskState(context(TaskStateStore(stored))).load("abc") is None
    assert KEY in caplog.text


@pytest.mark.parametrize("stored", [None, GOOD])
def test_valid_or_missing_state_logs_nothing(stored: Any, caplog: pytest.LogCaptureFixture):
    ExportTaskState(context(TaskStateStore(stored))).load("abc")
    assert caplog.text == ""


@pytest.mark.parametrize("form", ["list", "tuple", "one", "none"])
def test_state_is_deleted_only_after_success_is_recorded(form: str):
    """The user's own success callbacks still run."""
    store = TaskStateStore(GOOD)
    called: list[str] = []

    def users(context: Any) -> None:
        called.append("user callback")

    given: dict[str, Any] = {"list": [users], "tuple": (users,), "one": users, "none": None}
    operator = SimpleNamespace(on_success_callback=given[form])

    ExportTaskState(context(store)).clear_on_success(operator)
    assert store.value == GOOD

    for callback in operator.on_success_callback:
        callback({})
    assert store.value is None
    assert called == ([] if form == "none" else ["user callback"])


@pytest.mark.parametrize(("try_number", "max_tries"), [(1, 2), (4, 5)])
def test_first_try_without_a_store_has_no_prior_request(try_number: int, max_tries: int):
    assert ExportTaskState(context(None, try_number, max_tries)).load("abc") is None


@pytest.mark.parametrize(("try_number", "max_tries"), [(2, 2), (3, 2), (5, 5), (6, 5)])
def test_later_try_without_a_store_searches_since_the_run_start(try_number: int, max_tries: int, mocker: Any):
    """Without a state store and without a task history, the start of the DAG run is the earliest time."""
    mocker.patch("airflow_provider_flowroute.utils.task_state.AIRFLOW_V_3_0_PLUS", True)

    prior = ExportTaskState(context(None, try_number, max_tries)).load("abc")

    assert prior == PriorRequest(RequestTime(REQUESTED_AT, exact=False))


def test_without_a_task_instance_nothing_is_loaded_or_saved():
    store = TaskStateStore()
    state = ExportTaskState({"task_state_store": store})
    state.save("abc", REQUESTED_AT + timedelta(0))

    assert (state.load("abc"), store.value) == (None, None)


def test_saved_state_is_small_json():
    store = TaskStateStore()
    ExportTaskState(context(store)).save("abc", REQUESTED_AT, "7")

    assert json.loads(json.dumps(store.value)) == GOOD
