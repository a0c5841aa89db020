"""One DAG for each case, which runs once: create, wait and land. E2E_CASES is the path of the cases.

Before and after its own work, each task writes its process ID to a file. It may stop there to be killed.
"""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator
from airflow_provider_flowroute.sensors.cdr_export import CdrExportSensor
from airflow_provider_flowroute.transfers.cdr_export_to_object_storage import CdrExportToObjectStorageOperator


def write_process_id(directory, ti, point):
    """Write the process ID to a file atomically."""
    file = Path(directory, f"{ti.task_id}.{ti.try_number}.{point}")
    part = file.with_suffix(".part")
    part.write_text(str(os.getpid()))
    part.replace(file)


def hooks(directory, held_at):
    """Return ``pre_execute`` and ``post_execute`` of a task. The first try never leaves the point ``held_at``."""

    def at(point, ti):
        write_process_id(directory, ti, point)
        while held_at == point and ti.try_number == 1:
            time.sleep(0.1)

    def pre_execute(context):
        at("before", context["ti"])

    def post_execute(context, result=None):
        at("after", context["ti"])

    return {"pre_execute": pre_execute, "post_execute": post_execute}


def dag_of(case):
    """Return the DAG of a case, which waits in the mode of the case."""
    conn_id = case["name"]
    common = {"flowroute_conn_id": conn_id, "retries": 3, "retry_delay": timedelta(seconds=1)}
    with DAG(
        case["name"], schedule="@once", start_date=datetime(2026, 1, 1, tzinfo=UTC), catchup=False
    ) as dag:
        create = CreateCdrExportOperator(
            task_id="create",
            start_call_start_time=case["start"],
            start_call_end_time=case["end"],
            wait_for_completion=case["mode"] != "plain",
            deferrable=case["mode"] == "deferrable",
            poke_interval=1,
            **common,
            **hooks(case["directory"], case["held_at"]),
        )
        land = CdrExportToObjectStorageOperator(
            task_id="land",
            export_id=create.output,
            path=case["path"],
            **common,
            **hooks(case["directory"], None),
        )
        if case["run_continues"]:

            @task
            def keep_running(directory):
                while not Path(directory, "may_end").exists():
                    time.sleep(0.1)

            keep_running(case["directory"])
        if case["mode"] == "plain":
            wait = CdrExportSensor(
                task_id="wait", export_id=create.output, deferrable=True, poke_interval=1, **common
            )
            wait >> land
    return dag


for case in json.loads(Path(os.environ["E2E_CASES"]).read_text()):
    globals()[case["name"]] = dag_of(case)
