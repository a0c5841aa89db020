"""Load the Flowroute calls of each day: create an export, wait for it, write it, and use its totals.

Copy this file into your DAGs folder. It needs the connection ``flowroute_default`` and the extra
``landing``, and writes below the path in the Airflow variable ``flowroute_lake``: any path or URL of
ObjectStoragePath, such as ``s3://aws_default@bucket/cdrs``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Asset, Param, PokeReturnValue, task
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator
from airflow_provider_flowroute.sensors.cdr_export import CdrExportSensor
from airflow_provider_flowroute.transfers.cdr_export_to_object_storage import CdrExportToObjectStorageOperator

#: DAGs with this asset as their schedule run after new calls are loaded. An event's extra has the totals.
CDRS = Asset("flowroute_cdrs")

with DAG(
    dag_id="flowroute_daily_cdrs",
    # Each run covers one UTC day. In Airflow 3, schedule="@daily" covers no time.
    schedule=CronDataIntervalTimetable("@daily", timezone="UTC"),
    start_date=datetime(2019, 6, 25, tzinfo=UTC),
    catchup=False,
    # For transient errors. A permanent error fails the task without a retry.
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    params={
        "late_calls_hours": Param(
            2,
            type="number",
            minimum=0,
            description="Hours to wait after the day. Flowroute records a call when it ends.",
        )
    },
    tags=["flowroute", "example"],
    doc_md=__doc__,
):

    @task.sensor(poke_interval=600, timeout=24 * 3600, mode="reschedule")
    def late_calls(
        data_interval_end: datetime | None = None, params: dict[str, Any] | None = None
    ) -> PokeReturnValue:
        """Wait for the calls in progress at the end of the day."""
        hours = (params or {})["late_calls_hours"]
        # A run without a data interval does not wait: the next task fails with the reason.
        ready_at = data_interval_end + timedelta(hours=float(hours)) if data_interval_end else None
        return PokeReturnValue(is_done=ready_at is None or datetime.now(UTC) >= ready_at)

    create = CreateCdrExportOperator(task_id="create")

    wait = CdrExportSensor(
        task_id="wait", export_id=create.output, deferrable=True, poke_interval=15, timeout=6 * 3600
    )

    land = CdrExportToObjectStorageOperator(
        task_id="land",
        export_id=create.output,
        # The layout of flowroute_backfill.py and flowroute_late_calls.py, so that all three write one lake.
        path="{{ var.value.get('flowroute_lake', '/tmp/flowroute') }}/date={{ data_interval_start | ds }}/cdrs.parquet",
        outlets=[CDRS],
    )

    @task
    def report(summary: dict[str, Any], landed: dict[str, Any]) -> str:
        """Summarize the day on the task's XCom tab. Replace this with your next step."""
        return (
            f"{summary['num_calls']} calls, {summary['billed_minutes']} minutes, "
            f"{summary['total_cost']} USD: {landed['path']}"
        )

    late_calls() >> create
    wait >> land
    report(wait.output, land.output)
