"""Load a long period of history, such as a year, with one export per window of at most 92 days, in parallel.

Trigger the DAG manually with the params ``start`` and ``end``. It needs the connection
``flowroute_default``, and writes below the path in the Airflow variable ``flowroute_lake``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Asset, Param, task

from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator
from airflow_provider_flowroute.sensors.cdr_export import CdrExportSensor
from airflow_provider_flowroute.transfers.cdr_export_to_object_storage import CdrExportToObjectStorageOperator

#: The asset of flowroute_daily_cdrs.py. One event per window; the event's extra has path and totals.
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

    def landing(summary: dict[str, Any]) -> dict[str, str]:
        """Return the export and the target file of one window. The window's first day names the file."""
        return {
            "export_id": summary["id"],
            "path": "{{ var.value.get('flowroute_lake', '/tmp/flowroute') }}/backfill/"
            f"from-{summary['window']['start'][:10]}.parquet",
        }

    @task
    def report(landed: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Summarize the landings: the returned value is on the task's XCom tab."""
        return {"rows": sum(file["rows"] for file in landed), "paths": [file["path"] for file in landed]}

    create = CreateCdrExportOperator.partial(
        task_id="create",
        map_index_template="{{ task.start_call_start_time }} .. {{ task.start_call_end_time }}",
    ).expand_kwargs(windows())

    wait = CdrExportSensor.partial(
        task_id="wait", deferrable=True, poke_interval=15, map_index_template="{{ task.window }}"
    ).expand(export_id=create.output)

    land = CdrExportToObjectStorageOperator.partial(
        task_id="land", outlets=[CDRS], map_index_template="{{ task.path.rpartition('/')[-1] }}"
    ).expand_kwargs(wait.output.map(landing))

    report(land.output)
