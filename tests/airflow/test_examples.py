"""The example DAGs, unchanged, run with the `airflow` command."""

from __future__ import annotations

import csv
import io
import os
import re
import subprocess
import sys
from collections import defaultdict
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_flowroute.cdr.columns import COLUMNS
from airflow_provider_flowroute.cdr.export import CdrExport
from airflow_provider_flowroute.landing.arrow import CdrParquetWriter, totals_of
from airflow_provider_flowroute.landing.csv_stream import Header
from airflow_provider_flowroute.landing.footer import footer_metadata
from airflow_provider_flowroute.landing.reconciliation import Reconciliation
from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator
from airflow_provider_flowroute.transfers.cdr_export_to_object_storage import CdrExportToObjectStorageOperator
from tests.landing.values import typed_value

from .conftest import AIRFLOW_2
from .test_dags import event_extras

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(180)]

EXAMPLES = Path(__file__).parents[2] / "example_dags"
#: The sample of Flowroute's own SDK.
SAMPLE_FILE = b"""\
direction,start_time,end_time,destination,number_alias,callerid,total_cost,destination_name,callerid_country,\
line_information,result,call_fail_sip_code,call_fail_reason,duration,billed_duration,rate,first_increment,\
subsequent_increment,cost_subtotal,connect_fee,usf_fee,ccrf,cnam_lookup_fee,custom_x_tag,customer_ip
Outbound,2019-06-25 18:18:54+00,2019-06-25 18:19:31+00,18774551500,Office Line 2,+12063389999,0.00000000,\
UNITED STATES - TOLL FREE,N/A,,completed,200,OK,37,42,0.000000,6,6,0.00000000,0.0000,0.00000000,0.00000000,\
0.00000000,,53.186.152.52:5080
Inbound,2019-06-25 18:18:00+00,2019-06-25 18:18:29+00,12063389999,Office Line 2,+12069928999,0.00474784,\
UNITED STATES,UNITED STATES,61,completed,200,OK,29,30,0.001500,6,6,0.00075000,0.0000,0.00000000,0.00009784,\
0.00390000,,53.186.152.52
Outbound,2019-06-25 18:15:38+00,2019-06-25 18:17:24+00,12069928999,Office Line 1,+12063389998,0.01994112,\
UNITED STATES,N/A,,completed,200,OK,106,108,0.009800,6,6,0.01764000,0.0000,0.00000000,0.00230112,0.00000000,,\
53.186.151.52:5080
"""


def rows_of(path: Path) -> pa.Table:
    """Read a file without the column of its folder's name, which some versions of pyarrow add."""
    return pq.read_table(path, partitioning=None)


def values_of(content: bytes) -> list[dict[str, Any]]:
    """Parse the rows of an export's CSV with the standard library."""
    rows = csv.DictReader(io.StringIO(content.decode(), newline=""))
    return [{name: typed_value(name, row.get(name, "")) for name in COLUMNS} for row in rows]


@pytest.fixture
def dags_test(airflow_db: None, tmp_path: Path) -> Any:
    """Run `airflow dags test` with the examples as DAGs folder; return its output at DEBUG level."""

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "airflow", "dags", "test", *arguments],
            env={
                **os.environ,
                "AIRFLOW__CORE__DAGS_FOLDER": str(EXAMPLES),
                "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
                "AIRFLOW_VAR_FLOWROUTE_LAKE": str(tmp_path),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=150,
        )
        assert done.returncode == 0, done.stdout[-5000:]
        return done.stdout

    return run


# On Airflow 2, `dags test` saves no dataset, so there are no events.


def labels_of(dag_id: str) -> dict[str, list[str]]:
    """Return the labels of a DAG's mapped tasks in the UI, in order."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    labels = defaultdict(list)
    with create_session() as session:
        tis = session.query(TaskInstance).filter_by(dag_id=dag_id).filter(TaskInstance.map_index >= 0)
        for ti in tis.order_by(TaskInstance.map_index):
            labels[ti.task_id].append(ti.rendered_map_index)
    return dict(labels)


def xcom(dag_id: str, task_id: str) -> Any:
    """Return what a task of a DAG's only run returned."""
    from airflow.utils.session import create_session

    try:
        from airflow.models.xcom import XComModel
    except ImportError:  # Airflow 2
        from airflow.models.xcom import XCom as XComModel
    with create_session() as session:
        found = session.query(XComModel).filter_by(dag_id=dag_id, task_id=task_id, key="return_value").one()
        return found.value


@pytest.mark.flowroute(processing_seconds=1, secret_key="a-very-secret-key")
def test_daily_dag_lands_the_sample_day_and_keeps_secrets(flowroute, dags_test, tmp_path):
    """The landed values equal Flowroute's own sample. No log and no file of Airflow has the link or the key."""

    log = dags_test("flowroute_daily_cdrs", "2019-06-26", "--conf", '{"late_calls_hours": 0}')

    landed = tmp_path / "date=2019-06-25" / "cdrs.parquet"
    assert flowroute.csv(flowroute.exports[0].id) == SAMPLE_FILE
    assert rows_of(landed).to_pylist() == values_of(SAMPLE_FILE)
    summary = f"3 calls, 3.0 minutes, 0.024689 USD: {landed}"
    assert summary in log
    assert xcom("flowroute_daily_cdrs", "report") == summary
    paths = [extra["path"] for extra in event_extras("flowroute_daily_cdrs")]
    assert paths == ([] if AIRFLOW_2 else [str(landed)])
    assert "Starting new HTTP connection" in log, "not a log at DEBUG level"
    # In `dags test`, where task and supervisor share a process, Airflow 3 itself logs the values it must mask.
    log = re.sub(r"MaskSecret\(value='.*?', ", "", log)
    files = [path for path in Path(os.environ["AIRFLOW_HOME"]).rglob("*") if path.is_file()]
    # In another process, because closing a database file here releases this process's SQLite locks on it.
    stored = subprocess.run(["cat", *files], capture_output=True, check=True).stdout
    for secret in ("X-Amz-Signature", flowroute.secret_key):
        assert secret not in log
        assert secret.encode() not in stored


def files_of(lake: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each file in the lake, by its day."""
    return {
        path.parent.name.removeprefix("date="): rows_of(path).to_pylist()
        for path in sorted(lake.glob("date=*/cdrs.parquet"))
    }


@pytest.mark.flowroute(calls_per_day=1)
def test_backfill_dag_lands_one_file_per_day(flowroute, dags_test, tmp_path):
    dags_test("flowroute_backfill", "2026-11-01", "--conf", '{"start": "2026-01-01", "end": "2026-06-01"}')

    files = files_of(tmp_path)
    assert list(files) == [str(date(2026, 1, 1) + timedelta(days=day)) for day in range(151)]
    windows = [
        "2026-01-01 00:00:00 .. 2026-04-03 00:00:00 UTC",
        "2026-04-03 00:00:00 .. 2026-06-01 00:00:00 UTC",
    ]
    assert labels_of("flowroute_backfill") == {
        "create": [
            "2026-01-01 00:00:00+00:00 .. 2026-04-03 00:00:00+00:00",
            "2026-04-03 00:00:00+00:00 .. 2026-06-01 00:00:00+00:00",
        ],
        "wait": windows,
        "land": windows,
    }
    assert len(event_extras("flowroute_backfill")) == (0 if AIRFLOW_2 else 2)
    calls = [row for export in flowroute.exports for row in values_of(flowroute.csv(export.id))]
    assert xcom("flowroute_backfill", "report") == {
        "rows": len(calls),
        "files": 151,
        "bytes": sum(path.stat().st_size for path in tmp_path.rglob("cdrs.parquet")),
    }
    assert {row["cdr_id"]: row for rows in files.values() for row in rows} == {
        call["cdr_id"]: call for call in calls
    }
    for day, rows in files.items():
        assert {str(row["start_time"].date()) for row in rows} <= {day}


@pytest.mark.flowroute(calls_per_day=40)
def test_late_calls_dag_replaces_only_days_that_differ(flowroute, dags_test, tmp_path):
    """In the lake of the daily DAG, at one export for each run."""
    land_days(tmp_path, "2026-11-17", "2026-11-20")
    late = tmp_path / "date=2026-11-18" / "cdrs.parquet"
    complete, inodes = (
        files_of(tmp_path),
        {path: path.stat().st_ino for path in tmp_path.rglob("cdrs.parquet")},
    )
    assert list(complete) == ["2026-11-17", "2026-11-18", "2026-11-19"]
    remove_first_call(late)

    dags_test("flowroute_late_calls", "2026-11-20T06:30:00+00:00", "--conf", '{"days": 3}')

    assert files_of(tmp_path) == complete
    assert [path for path, inode in inodes.items() if path.stat().st_ino != inode] == [late]
    assert xcom("flowroute_late_calls", "report") == (
        "1 of 3 files replaced: 1 calls new, 0 changed, 0 gone."
    )
    assert len(flowroute.exports) == 2

    dags_test("flowroute_late_calls", "2026-11-20T06:30:00+00:00", "--conf", '{"days": 3}')

    assert xcom("flowroute_late_calls", "report").startswith("No late calls: 3 files have the figures of")
    assert [export.downloads for export in flowroute.exports] == [1, 1, 0]


def land_days(lake: Path, start: str, end: str) -> str:
    """Land day files in the layout of the examples, and return the export's ID."""
    export_id = CreateCdrExportOperator(
        task_id="create", start_call_start_time=start, start_call_end_time=end
    ).execute({})
    path = f"{lake}/date={{date}}/cdrs.parquet"
    CdrExportToObjectStorageOperator(
        task_id="land", export_id=export_id, path=path, partition_by="day"
    ).execute({})
    return export_id


def remove_first_call(path: Path) -> None:
    """Make a landed file one of before its latest call was recorded."""
    table = rows_of(path)[1:]
    window = {name: str(table.column("start_time")[0].as_py().date()) for name in ("start", "end")}
    window["end"] = str(date.fromisoformat(window["end"]) + timedelta(days=1))
    parameters = {f"start_call_{name}_time": value for name, value in window.items()}
    totals = totals_of(table, Header(COLUMNS))
    export = CdrExport.from_resource(
        {
            "id": "1",
            "attributes": {
                "status": "completed",
                "num_calls": totals.rows,
                "total_cost": f"{totals.total_cost:.6f}",
                "filter_parameters": parameters,
            },
        }
    )
    writer = CdrParquetWriter(path.with_name("new"), COLUMNS)
    writer.write(table)
    writer.close(footer_metadata(export, Reconciliation(export, totals, COLUMNS)))
    path.write_bytes(path.with_name("new").read_bytes())
    path.with_name("new").unlink()


@pytest.mark.flowroute(calls_per_day=5)
def test_month_close_dag_checks_the_month_and_writes_a_report(flowroute, dags_test, tmp_path):
    """The days are in the layout of the other examples. The export of the month is not downloaded."""
    export_id = land_days(tmp_path, "2026-06-01", "2026-07-01")

    dags_test("flowroute_month_close", "2026-07-04T06:00:00")

    month = flowroute.exports[-1]
    assert (str(month.start.date()), str(month.end.date())) == ("2026-06-01", "2026-07-01")
    assert (month.id != export_id, month.downloads) == (True, 0)
    assert xcom("flowroute_month_close", "check")["export_id"] == month.id
    assert xcom("flowroute_month_close", "close").startswith(f"30 days, {month.num_calls} calls, ")
    assert "2026" in (tmp_path / "reports" / "2026-06.html").read_text()
