"""The events that the OpenLineage provider writes for a landing, run with the `airflow` command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(180)]

VERDICT = ("success", "severity", "expected", "actual")
DAG_FILE = """
from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator
from airflow_provider_flowroute.transfers.cdr_export_to_object_storage import CdrExportToObjectStorageOperator

with DAG("lineage", schedule=None, start_date=datetime(2019, 1, 1, tzinfo=UTC)):
    create = CreateCdrExportOperator(
        task_id="create", start_call_start_time="2019-06-25", start_call_end_time="2019-06-26"
    )
    CdrExportToObjectStorageOperator(task_id="land", export_id=create.output, path="PATH")
"""


@pytest.fixture
def events_of(airflow_db: None, tmp_path: Path) -> Any:
    """Run a DAG that lands an export at a path; return the landing's events by type, and the raw text of all."""

    def run(path: Path) -> tuple[dict[str, Any], str]:
        (dags := tmp_path / "dags").mkdir()
        (dags / "lineage.py").write_text(DAG_FILE.replace("PATH", str(path)))
        transport = {"type": "file", "log_file_path": str(tmp_path / "events.jsonl"), "append": True}
        subprocess.run(
            [sys.executable, "-m", "airflow", "dags", "test", "lineage", "2026-11-20"],
            env={
                **os.environ,
                "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
                "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=150,
        )
        written = (tmp_path / "events.jsonl").read_text()
        events = [json.loads(line) for line in written.splitlines()]
        return {
            event["eventType"]: event for event in events if event["job"]["name"] == "lineage.land"
        }, written

    return run


def test_landing_reports_export_file_and_passed_checks(flowroute, events_of, tmp_path):
    path = tmp_path / "day.parquet"

    events, _ = events_of(path)

    assert set(events) == {"START", "COMPLETE"}
    [source], [file] = events["COMPLETE"]["inputs"], events["COMPLETE"]["outputs"]
    assert (source["namespace"], source["name"]) == (
        f"flowroute://{flowroute.url.removeprefix('http://')}",
        f"cdrs/exports/{flowroute.exports[0].id}",
    )
    assert [
        (check["assertion"], check.get("column"), *(check[name] for name in VERDICT))
        for check in source["inputFacets"]["dataQualityAssertions"]["assertions"]
    ] == [
        ("row_count", None, True, "error", "3", "3"),
        ("sum", "total_cost", True, "error", "0.024689", "0.02468896"),
        (
            "in_window",
            "start_time",
            True,
            "error",
            "2019-06-25T00:00:00+00:00/2019-06-26T00:00:00+00:00",
            "2019-06-25T18:15:38+00:00/2019-06-25T18:18:54+00:00",
        ),
    ]
    assert (file["namespace"], file["name"]) == ("file", str(path))
    assert [(field["name"], field["type"]) for field in file["facets"]["schema"]["fields"]] == [
        (field.name, str(field.type)) for field in pq.read_schema(path)
    ]
    statistics = file["outputFacets"]["outputStatistics"]
    assert (statistics["rowCount"], statistics["size"]) == (3, path.stat().st_size)


def test_failed_landing_reports_the_failed_check_and_no_file(flowroute, events_of, tmp_path):
    flowroute.add_fault("wrong_num_calls")

    events, _ = events_of(tmp_path / "day.parquet")

    assert set(events) == {"START", "FAIL"}
    [source] = events["FAIL"]["inputs"]
    rows, cost, window = source["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert (rows["success"], rows["expected"], rows["actual"]) == (False, "4", "3")
    assert (cost["success"], window["success"]) == (True, True)
    assert events["FAIL"]["outputs"] == []


@pytest.mark.flowroute(access_key="the-access-key", secret_key="a-very-secret-key")
def test_events_have_no_link_key_or_connection(flowroute, events_of, tmp_path):
    _, written = events_of(tmp_path / "day.csv.gz")

    assert '"COMPLETE"' in written
    for secret in ("X-Amz", "Signature", "the-access-key", "a-very-secret-key", "flowroute_default"):
        assert secret not in written
