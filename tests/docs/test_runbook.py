"""Each entry of docs/runbook.md: make the situation with the simulator, follow the steps, and see that they help."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSensorTimeout

from airflow_provider_flowroute.exceptions import CdrExportMismatchError
from airflow_provider_flowroute.hooks.flowroute import FlowrouteHook
from airflow_provider_flowroute.operators.cdr_completeness import CdrCompletenessCheckOperator
from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator
from airflow_provider_flowroute.sensors.cdr_export import CdrExportSensor
from airflow_provider_flowroute.simulator import FlowrouteSimulator
from airflow_provider_flowroute.transfers.cdr_export_to_object_storage import CdrExportToObjectStorageOperator

from .blocks import CHECKOUT

PAGE = (CHECKOUT / "docs" / "runbook.md").read_text()
ENTRIES = {
    heading: re.split(r"\*\*(?:What you see|What to do|How to tell that it worked)\.\*\*", text)[1:]
    for heading, text in re.findall(r"^## (.+?)$(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
}
TESTED: list[str] = []

DAYS = ("2026-07-01", "2026-07-02", "2026-07-03")
NEXT = dict(zip(DAYS, (*DAYS[1:], "2026-07-04"), strict=True))


def entry(heading: str) -> Callable[[Any], Any]:
    """Mark the test of an entry, and give it the quoted texts of "What you see"."""
    TESTED.append(heading)
    return pytest.mark.parametrize("seen", [re.findall(r"`([^`]+)`", ENTRIES[heading][0])], ids=[heading])


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return tmp_path


def create(day: str = DAYS[0]) -> str:
    """Run, or clear and run, the task ``create``: outside of a retry it creates an export."""
    return CreateCdrExportOperator(
        task_id="create", start_call_start_time=day, start_call_end_time=NEXT[day]
    ).execute({})


def wait(export_id: str, **options: Any) -> dict[str, Any]:
    return CdrExportSensor(task_id="wait", export_id=export_id, **options).execute({})


def land(export_id: str, lake: Path, day: str = DAYS[0], **options: Any) -> dict[str, Any]:
    path = str(lake / f"date={day}" / "cdrs.parquet")
    task = CdrExportToObjectStorageOperator(task_id="land", export_id=export_id, path=path, **options)
    return task.execute({})


def check(lake: Path, end: str = NEXT[DAYS[-1]]) -> dict[str, Any]:
    """Run the check of the month."""
    return CdrCompletenessCheckOperator(
        task_id="check", path=f"{lake}/date={{date}}/cdrs.parquet", start=DAYS[0], end=end
    ).execute({})


@entry("A failed export")
def test_failed_export(flowroute, lake, seen):
    flowroute.add_fault("failed_export")
    failed = create()
    with pytest.raises(AirflowFailException, match=seen[1]):
        wait(failed)

    cleared = create()

    wait(cleared)
    assert cleared != failed
    assert land(cleared, lake)["export_id"] == cleared


@entry("A mismatch")
def test_mismatch(flowroute, lake, seen):
    """A second export has new figures. If it has the same mismatch, the file can be landed, and the check lists it."""
    flowroute.add_fault("wrong_num_calls", times=2)
    export_id = create()
    for _ in range(2):  # a retry finds the same
        with pytest.raises(CdrExportMismatchError, match=seen[1]):
            land(export_id, lake)
    assert not list(lake.rglob("*.parquet"))

    with pytest.raises(CdrExportMismatchError):
        land(again := create(), lake)
    land(again, lake, on_mismatch="warn")
    with pytest.raises(AirflowFailException, match=f"Not reconciled: {DAYS[0]}"):
        check(lake, end=NEXT[DAYS[0]])
    landed = land(create(), lake)

    assert {result["passed"] for result in landed["reconciliation"].values()} == {True}
    assert list(check(lake, end=NEXT[DAYS[0]])["days"]) == [DAYS[0]]


@entry("An expired file")
@pytest.mark.parametrize("days_later", [0, 4])
def test_expired_file(flowroute, lake, seen, days_later):
    """The link alone expires, or the export is older than three days."""
    expired = create()
    if days_later:
        flowroute.clock_ahead = days_later * 86400
    else:
        flowroute.add_fault("expired_link", times=None)
    with pytest.raises(AirflowFailException, match="|".join(map(re.escape, seen[1:]))):
        land(expired, lake)
    flowroute.clear_faults()

    cleared = create()

    assert cleared != expired
    assert land(cleared, lake)["export_id"] == cleared


@entry("A stuck wait")
@pytest.mark.flowroute(processing_seconds=float("inf"))
def test_stuck_wait(flowroute, lake, seen, capsys):
    export_id = create()
    with pytest.raises(AirflowSensorTimeout):
        wait(export_id, poke_interval=0.1, timeout=0.3)
    assert seen[1] == AirflowSensorTimeout.__name__

    [block] = re.findall(r"```python\n(.*?)```", ENTRIES["A stuck wait"][1], re.DOTALL)
    exec(re.sub(r"^    ", "", block, flags=re.MULTILINE), {})
    assert f"{export_id} processing 2026-07-01" in capsys.readouterr().out
    flowroute.complete(export_id)

    wait(export_id)
    land(export_id, lake)
    assert len(flowroute.exports) == 1


@entry("A wrong key")
def test_wrong_key(flowroute, lake, seen, monkeypatch):
    monkeypatch.setenv(
        "AIRFLOW_CONN_FLOWROUTE_DEFAULT", json.dumps(flowroute.connection | {"password": "an-old-secret-key"})
    )
    with pytest.raises(AirflowFailException, match=seen[0]):
        create()
    assert FlowrouteHook().test_connection()[0] is False

    monkeypatch.setenv("AIRFLOW_CONN_FLOWROUTE_DEFAULT", flowroute.connection_json)

    works, answer = FlowrouteHook().test_connection()
    assert works
    assert answer.startswith(re.findall(r"`([^`]+)`", ENTRIES["A wrong key"][2])[0])
    land(create(), lake)


@entry("A missing day")
def test_missing_day(flowroute, lake, seen):
    for day in (DAYS[0], DAYS[2]):
        land(create(day), lake, day)
    with pytest.raises(AirflowFailException, match=f"{seen[0]} {DAYS[1]}"):
        check(lake)

    land(create(DAYS[1]), lake, DAYS[1])

    assert list(check(lake)["days"]) == list(DAYS)


@entry("A cost spike")
@pytest.mark.flowroute(calls_per_day=30)
def test_cost_spike(flowroute, lake, seen, monkeypatch):
    """The second day has ten times the calls. The query finds them, and the third day is ordinary again."""
    land(create(DAYS[0]), lake, DAYS[0])
    with FlowrouteSimulator(calls_per_day=300) as fraud:
        monkeypatch.setenv("AIRFLOW_CONN_FLOWROUTE_DEFAULT", fraud.connection_json)
        land(create(DAYS[1]), lake, DAYS[1])
    monkeypatch.setenv("AIRFLOW_CONN_FLOWROUTE_DEFAULT", flowroute.connection_json)
    land(create(DAYS[2]), lake, DAYS[2])

    [query] = re.findall(r"```sql [^\n]*\n(.*?)```", ENTRIES["A cost spike"][1], re.DOTALL)
    rows = duckdb.execute(re.sub(r"/lake/date=[\d-]+/", f"{lake}/date={DAYS[1]}/", query)).fetchall()

    ordinary, spike, after = (Decimal(figures["total_cost"]) for figures in check(lake)["days"].values())
    assert (spike > 3 * ordinary, after < 3 * ordinary) == (True, True)
    assert rows[0][4] == max(row[4] for row in rows)
    assert sum(row[4] for row in rows) > ordinary


def test_every_entry_is_a_test_and_has_three_parts():
    assert list(ENTRIES) == TESTED
    assert all(len(parts) == 3 for parts in ENTRIES.values())
