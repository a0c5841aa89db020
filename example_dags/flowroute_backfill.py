"""Load a long period of history, such as a year, with one export per window of at most 92 days, in parallel.

Each export lands as one file per UTC day, in the layout of ``flowroute_daily_cdrs``. A year is 4 exports and 365 files.
Trigger the DAG manually with the params ``start`` and ``end``. It needs the connection ``flowroute_default`` and writes
below the path in the Airflow variable ``flowroute_lake``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Asset, Param, task

from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator
from airflow_provider_flowroute.sensors.cdr_export import CdrExportSensor
from airflow_provider_flowroute.transfers.cdr_export_to_object_storage import CdrExportToObjectStorageOperator

#: The asset of flowroute_daily_cdrs.py. One event per window; the event's extra has totals.
CDRS = Asset("flowroute_cdrs")

with DAG(
    dag_id="flowroute_backfill",
    schedule=None,
    start_date=datetime(2019, 1, 1, tzinfo=UTC),
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    params={
        "start": Param("2025-01-01", type="string", description="First day, UTC."),
        "end": Param("2026-01-01", type="string", description="Day after the last day, UTC."),
    },
    tags=["flowroute", "example"],
    doc_md=__doc__,
):

    @task
    def windows(params: dict[str, Any] | None = None) -> list[dict[str, str]]:
        """Split the period into contiguous windows: no gaps and no overlap."""
        from airflow_provider_flowroute.cdr.window import Window

        assert params is not None
        return [
            {"start_call_start_time": str(window.start), "start_call_end_time": str(window.end)}
            for window in Window(params["start"], params["end"]).split()
        ]

    @task
    def report(landed: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Summarize the landings: the returned value is on the task's XCom tab."""
        return {name: sum(window[name] for window in landed) for name in ("rows", "files", "bytes")}

    create = CreateCdrExportOperator.partial(
        task_id="create",
        map_index_template="{{ task.start_call_start_time }} .. {{ task.start_call_end_time }}",
    ).expand_kwargs(windows())

    wait = CdrExportSensor.partial(
        task_id="wait", deferrable=True, poke_interval=15, map_index_template="{{ task.window }}"
    ).expand(export_id=create.output)

    land = CdrExportToObjectStorageOperator.partial(
        task_id="land",
        path="{{ var.value.get('flowroute_lake', '/tmp/flowroute') }}/date={date}/cdrs.parquet",
        partition_by="day",
        outlets=[CDRS],
        map_index_template="{{ task.window }}",
    ).expand(export_id=wait.output.map(lambda summary: summary["id"]))

    report(land.output)
