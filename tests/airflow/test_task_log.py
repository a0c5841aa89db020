"""The log of a failed task, from the `airflow` command."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from airflow_provider_flowroute.simulator import FlowrouteSimulator

from .conftest import AIRFLOW_2

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(180)]

DAG_FILE = """
from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator
from airflow_provider_flowroute.sensors.cdr_export import CdrExportSensor

with DAG("fails", schedule=None, start_date=datetime(2019, 1, 1, tzinfo=UTC)):
    CreateCdrExportOperator(
        task_id="create",
        start_call_start_time="{{ '2019-06-25' }}",  # a template is not checked when the file is parsed
        start_call_end_time="2019-06-26",
        filter_parameters={"direction": "{{ 'sideways' }}"},
    )
    CdrExportSensor(task_id="wait", export_id="4711", deferrable=True, soft_fail=True)
    CdrExportSensor(task_id="wait_hard", export_id="4712", poke_interval=1)
"""


@pytest.fixture(scope="module")
def log(airflow_db: None, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The log of a run whose tasks meet permanent errors."""
    dags = tmp_path_factory.mktemp("dags")
    (dags / "fails.py").write_text(DAG_FILE)
    with FlowrouteSimulator(seed=1) as flowroute:
        done = subprocess.run(
            [sys.executable, "-m", "airflow", "dags", "test", "fails", "2026-11-20"],
            env={
                **os.environ,
                "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
                "AIRFLOW_CONN_FLOWROUTE_DEFAULT": flowroute.connection_json,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=150,
        )
    return done.stdout


@pytest.mark.parametrize("message", ["'direction'] is invalid", "4711: Flowroute", "4712: Flowroute"])
def test_permanent_error_is_printed_once(log: str, message: str):
    """A failed and a skipped task print their error once, without the errors it is chained to."""
    entries = re.split(r"^(?=\[?20\d\d-\d\d-\d\d)", log, flags=re.MULTILINE)
    counts = [entry.count(message) for entry in entries if message in entry]

    # On Airflow 2, the command itself repeats each entry.
    assert set(counts) == {1} if AIRFLOW_2 else counts == [1], log
    assert "During handling of the above exception" not in log
    assert "direct cause of the following exception" not in log
