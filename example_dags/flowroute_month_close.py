"""Check on the 4th of each month that the calls of the month before are complete, and write a report of them.

The DAG ``flowroute_daily_cdrs`` lands the days. This DAG creates an export of the whole month, compares its totals with
those of the landed days, without a download, and writes a report. It needs the connection ``flowroute_default``, the
extra ``report``, and the Airflow variable ``flowroute_lake`` of ``flowroute_daily_cdrs``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_flowroute.operators.cdr_completeness import CdrCompletenessCheckOperator
from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator

LAKE = "{{ var.value.get('flowroute_lake', '/tmp/flowroute') }}"
#: The ends of the month before the one in which the run starts.
START = "{{ data_interval_end.start_of('month').subtract(months=1) }}"
END = "{{ data_interval_end.start_of('month') }}"

with DAG(
    dag_id="flowroute_month_close",
    # Three days after the end of the month, so that the last calls and their corrections are in the export.
    schedule=CronDataIntervalTimetable("0 6 4 * *", timezone="UTC"),
    start_date=datetime(2019, 6, 4, tzinfo=UTC),
    catchup=False,
    # Unpause it when the days of a month are landed.
    is_paused_upon_creation=True,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    tags=["flowroute", "example"],
    doc_md=__doc__,
):
    create = CreateCdrExportOperator(
        task_id="create",
        start_call_start_time=START,
        start_call_end_time=END,
        wait_for_completion=True,
        deferrable=True,
        poke_interval=15,
    )

    check = CdrCompletenessCheckOperator(
        task_id="check",
        path=f"{LAKE}/date={{date}}/cdrs.parquet",
        start=START,
        end=END,
        export_id=create.output,
        report_path=LAKE + "/reports/{{ data_interval_end.subtract(months=1).strftime('%Y-%m') }}.html",
    )

    @task
    def close(figures: dict[str, Any]) -> str:
        """Summarize the month: the returned value is on the task's XCom tab. Replace this with your next step."""
        total = figures["total"]
        return (
            f"{len(figures['days'])} days, {total['rows']} calls, {total['billed_minutes']} minutes, "
            f"{total['total_cost']} USD"
        )

    close(check.output)
