"""What `make ui` prepares: runs to look at, a connection to test, and DAG files that appear quickly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow_env import DAG, SAMPLE_DAY
from airflow_standalone import AIRFLOW_2, save_connection

from tests.support import wait_until

pytestmark = [pytest.mark.e2e_ui, pytest.mark.timeout(400)]


@pytest.fixture(scope="module", autouse=True)
def _prepared(ui: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Do what `make ui` does once Airflow is healthy."""
    from ui import start_runs

    log: Path = tmp_path_factory.mktemp("make-ui") / "log"
    save_connection(ui.env, ui.flowroute.connection, log)
    start_runs(ui.address, ui.env, log)


def test_the_example_dag_lands_the_sample_day(ui: Any) -> None:
    assert ui.state_of(f"demo_{SAMPLE_DAY}") == "success"
    assert (ui.lake / f"date={SAMPLE_DAY}" / "cdrs.parquet").exists()


def test_the_scheduler_runs_yesterday(ui: Any) -> None:
    sql = "select run_type from dag_run where dag_id = ? and run_type = 'scheduled'"

    assert wait_until(lambda: ui.query(sql, DAG), 60, "the scheduler creates a run", interval=1) == [
        ("scheduled",)
    ]


@pytest.mark.skipif(AIRFLOW_2, reason="Airflow 2 has no Test icon in the list")
def test_the_icon_of_its_connection_works(pages: Any) -> None:
    assert "Connected to" in pages.test_from_list("flowroute_default")


def test_a_new_dag_file_appears_within_15_seconds(ui: Any) -> None:
    source = (Path(ui.env["AIRFLOW__CORE__DAGS_FOLDER"]) / "flowroute_backfill.py").read_text()
    new = Path(ui.env["AIRFLOW__CORE__DAGS_FOLDER"]) / "a_new_file.py"
    new.write_text(source.replace('dag_id="flowroute_backfill"', 'dag_id="a_new_dag"'))

    wait_until(
        lambda: ui.query("select dag_id from dag where dag_id = ?", "a_new_dag"), 15, "the DAG appears"
    )
