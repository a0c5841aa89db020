"""CeleryExecutor, Postgres and Redis, with kills: each window has one export and a complete file."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from decimal import Decimal

import pyarrow.parquet as pq
import pytest

from airflow_provider_flowroute.cdr.window import Window
from tests.e2e.airflow_processes import wait_for
from tests.e2e.report import REPORT
from tests.e2e.runs import Case, Started
from tests.e2e_celery.cases import CASES, ExampleRun

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

YEAR = list(Window("2025-01-01", "2026-01-01").split())
for_each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def ended(runs: Started[ExampleRun], case: Case) -> ExampleRun:
    """Wait until the run of a case has ended, and return it."""
    run, carried_out = runs[case.name]
    carried_out.result()
    return run


@for_each_case
def test_each_window_has_one_export_and_a_complete_file(case: Case, runs: Started[ExampleRun]) -> None:
    run = ended(runs, case)

    [(state, start, end)] = run.airflow.query(
        "SELECT state, data_interval_start, data_interval_end FROM dag_run WHERE dag_id = :name",
        name=case.name,
    )
    [(tries,)] = run.airflow.query(
        "SELECT max(try_number) FROM task_instance WHERE dag_id = :name", name=case.name
    )
    windows = YEAR if case.mode == "backfill" else [Window(start, end)]
    exports = run.flowroute.exports
    REPORT.add(case.failure, case.mode, state, tries, len(windows), len(exports))
    assert state == "success", run.airflow.log(case.name)
    assert sorted((export.start, export.end) for export in exports) == [(w.start, w.end) for w in windows]
    # A killed landing leaves its hidden folder, whose name ends with .part.
    landed = {str(path.relative_to(run.lake)): path for path in run.lake.glob("date=*/*")}
    days = {
        export.start + timedelta(days=day): export
        for export in exports
        for day in range((export.end - export.start).days)
    }
    assert set(landed) == {f"date={day:%Y-%m-%d}/cdrs.parquet" for day in days}
    for export in exports:
        calls = list(csv.DictReader(io.StringIO(run.flowroute.csv(export.id).decode())))
        rows = []
        for day in (day for day, source in days.items() if source is export):
            table = pq.read_table(
                landed[f"date={day:%Y-%m-%d}/cdrs.parquet"], columns=["cdr_id", "total_cost"]
            )
            rows += zip(*(column.to_pylist() for column in table.columns), strict=True)
        assert sorted(rows) == sorted((call["cdr_id"], Decimal(call["total_cost"])) for call in calls)
    assert case.tries <= int(str(tries)) <= 3


@for_each_case
def test_no_task_state_is_left(case: Case, runs: Started[ExampleRun]) -> None:
    run = ended(runs, case)

    assert run.airflow.query("SELECT value FROM task_state_store WHERE dag_id = :name", name=case.name) == []


def test_no_trigger_is_left(runs: Started[ExampleRun]) -> None:
    for case in CASES:
        run = ended(runs, case)

    wait_for(lambda: run.airflow.query("SELECT id FROM trigger") == [], "all triggers are deleted")
