"""The example DAGs, unchanged, run with the `airflow` command."""

from __future__ import annotations

import csv
import io
import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from airflow_provider_flowroute.cdr.columns import COLUMNS
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

    landed = tmp_path / "2019-06-25" / "cdrs.parquet"
    assert flowroute.csv(flowroute.exports[0].id) == SAMPLE_FILE
    assert pq.read_table(landed).to_pylist() == values_of(SAMPLE_FILE)
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


@pytest.mark.flowroute(calls_per_day=1)
def test_backfill_dag_lands_one_file_per_window(flowroute, dags_test, tmp_path):
    dags_test("flowroute_backfill", "2026-11-01", "--conf", '{"start": "2026-01-01", "end": "2026-06-01"}')

    first, second = sorted((tmp_path / "backfill").iterdir())
    assert (first.name, second.name) == ("from-2026-01-01.parquet", "from-2026-04-03.parquet")
    exports = {f"from-{export.start:%Y-%m-%d}.parquet": export for export in flowroute.exports}
    assert labels_of("flowroute_backfill") == {
        "create": [
            "2026-01-01 00:00:00+00:00 .. 2026-04-03 00:00:00+00:00",
            "2026-04-03 00:00:00+00:00 .. 2026-06-01 00:00:00+00:00",
        ],
        "wait": [
            "2026-01-01 00:00:00 .. 2026-04-03 00:00:00 UTC",
            "2026-04-03 00:00:00 .. 2026-06-01 00:00:00 UTC",
        ],
        "land": [first.name, second.name],
    }
    assert len(event_extras("flowroute_backfill")) == (0 if AIRFLOW_2 else 2)
    assert xcom("flowroute_backfill", "report") == {
        "rows": sum(export.num_calls for export in flowroute.exports),
        "paths": [str(first), str(second)],
    }
    for path in (first, second):
        assert pq.read_table(path).to_pylist() == values_of(flowroute.csv(exports[path.name].id))
