"""Lands a long stretch of history, such as a year: one export per window of at most 92 days, side by side.

Trigger it by hand, with ``start`` and ``end`` as params. It needs the connection ``flowroute_default`` and
writes below the Airflow variable ``flowroute_lake``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator
from airflow_provider_flowroute.sensors.cdr_export import CdrExportSensor
from airflow_provider_flowroute.transfers.cdr_export_to_object_storage import CdrExportToObjectStorageOperator

with DAG(
    dag_id="flowroute_backfill",
    schedule=None,
    start_date=datetime(2019, 1, 1, tzinfo=UTC),
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    params={
        "start": Param("2025-01-01", type="string", description="First day, UTC."),
        "end": Param("2026-01-01", type="string", description="The day after the last, UTC."),
    },
    tags=["flowroute", "example"],
    doc_md=__doc__,
):

    @task
    def windows(params: dict[str, Any] | None = None) -> list[dict[str, str]]:
        """The stretch, cut into windows that tile: no call lost between them, none twice."""
        from airflow_provider_flowroute.cdr.window import Window

        assert params is not None
        return [
            {"start_call_start_time": str(window.start), "start_call_end_time": str(window.end)}
            for window in Window(params["start"], params["end"]).split()
        ]

    def landing(summary: dict[str, Any]) -> dict[str, str]:
        """Where the file of one window goes: named by its first day."""
        return {
            "export_id": summary["id"],
            "path": "{{ var.value.get('flowroute_lake', '/tmp/flowroute') }}/backfill/"
            f"from-{summary['window']['start'][:10]}.parquet",
        }

    create = CreateCdrExportOperator.partial(task_id="create").expand_kwargs(windows())

    wait = CdrExportSensor.partial(task_id="wait", deferrable=True, poke_interval=15).expand(
        export_id=create.output
    )

    CdrExportToObjectStorageOperator.partial(task_id="land").expand_kwargs(wait.output.map(landing))
