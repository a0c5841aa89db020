"""Look back over the last days: load late calls and corrections, at the cost of one export a day.

A call is recorded when it ends, under its start time, and Flowroute can correct a record later. Each morning this DAG
exports the last days again. If their figures are those of the landed files, it downloads nothing. Otherwise it replaces
the files of the days that differ, and only those. It shares its lake with ``flowroute_daily_cdrs``: it needs the
connection ``flowroute_default`` and writes below the path in the Airflow variable ``flowroute_lake``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Asset, Param, task
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator
from airflow_provider_flowroute.sensors.cdr_export import CdrExportSensor
from airflow_provider_flowroute.transfers.cdr_export_to_object_storage import CdrExportToObjectStorageOperator

#: The asset of flowroute_daily_cdrs.py. The event's extra says with ``changed`` whether a file was replaced.
CDRS = Asset("flowroute_cdrs")

with DAG(
    dag_id="flowroute_late_calls",
    # After the daily DAG. The window ends at midnight, because a file holds a complete day.
    schedule=CronDataIntervalTimetable("30 6 * * *", timezone="UTC"),
    start_date=datetime(2019, 6, 25, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    # Unpause it when the daily DAG has landed some days.
    is_paused_upon_creation=True,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    params={"days": Param(7, type="integer", minimum=1, maximum=92, description="Days to look back.")},
    tags=["flowroute", "example"],
    doc_md=__doc__,
):
    create = CreateCdrExportOperator(
        task_id="create",
        start_call_start_time="{{ (data_interval_end - macros.timedelta(days=params.days | int)) | ds }}",
        start_call_end_time="{{ data_interval_end | ds }}",
    )

    wait = CdrExportSensor(
        task_id="wait", export_id=create.output, deferrable=True, poke_interval=15, timeout=6 * 3600
    )

    land = CdrExportToObjectStorageOperator(
        task_id="land",
        export_id=create.output,
        path="{{ var.value.get('flowroute_lake', '/tmp/flowroute') }}/date={date}/cdrs.parquet",
        partition_by="day",
        overwrite="if_changed",
        outlets=[CDRS],
    )

    @task
    def report(landed: dict[str, Any]) -> str:
        """Summarize what changed: the returned value is on the task's XCom tab. Replace this with your next step."""
        if not landed["changed"]:
            return f"No late calls: {landed['files']} files have the figures of export {landed['export_id']}."
        found = landed["difference"] or {"new": 0, "gone": 0, "changed": 0}
        return (
            f"{landed['files_published']} of {landed['files']} files replaced: "
            f"{found['new']} calls new, {found['changed']} changed, {found['gone']} gone."
        )

    wait >> land
    report(land.output)
