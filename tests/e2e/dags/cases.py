"""One DAG a case, each run once: create (and wait), land. The cases come from the file that E2E_CASES names.

Before and after each task's own work its process says who it is, in a file, and may stay there to be killed.
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


def say(directory, ti, point):
    """Leave this process's id in a file that appears whole."""
    file = Path(directory, f"{ti.task_id}.{ti.try_number}.{point}")
    part = file.with_suffix(".part")
    part.write_text(str(os.getpid()))
    part.replace(file)


def hooks(directory, held_at):
    """``pre_execute`` and ``post_execute`` of a task; ``held_at`` is where its first try stays, for good."""

    def at(point, ti):
        say(directory, ti, point)
        while held_at == point and ti.try_number == 1:
            time.sleep(0.1)

    def pre_execute(context):
        at("before", context["ti"])

    def post_execute(context, result=None):
        at("after", context["ti"])

    return {"pre_execute": pre_execute, "post_execute": post_execute}


def dag_of(case):
    """The pipeline of a case, which waits in the way the case says."""
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
        if case["goes_on"]:

            @task
            def go_on(directory):
                while not Path(directory, "may_end").exists():
                    time.sleep(0.1)

            go_on(case["directory"])
        if case["mode"] == "plain":
            wait = CdrExportSensor(
                task_id="wait", export_id=create.output, deferrable=True, poke_interval=1, **common
            )
            wait >> land
    return dag


for each in json.loads(Path(os.environ["E2E_CASES"]).read_text()):
    globals()[each["name"]] = dag_of(each)
