"""The link from a landing to its file, read as the UI reads it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator
from airflow_provider_flowroute.transfers.cdr_export_to_object_storage import CdrExportToObjectStorageOperator

from .conftest import AIRFLOW_2

try:
    from airflow.sdk.io import attach
except ImportError:  # Airflow 2
    from airflow.io.store import attach

pytestmark = pytest.mark.airflow


def links_of(dag: Any, map_index: int = -1) -> dict[str, str | None]:
    """Return the links of the task ``land`` in the DAG's only run."""
    from airflow.models import DagRun
    from airflow.utils.session import create_session

    with create_session() as session:
        [run] = session.query(DagRun).filter(DagRun.dag_id == dag.dag_id).all()
        run_id = run.run_id
        if AIRFLOW_2:  # what the webserver does, with the DAG as it is stored
            from airflow.serialization import serialized_objects

            stored: Any = serialized_objects.SerializedDAG  # type: ignore[attr-defined]
            if isinstance(land := dag.get_task("land"), CdrExportToObjectStorageOperator):
                vars(land).pop("operator_extra_links", None)  # the database has the DAG from before the run
            task = stored.from_dict(stored.to_dict(dag)).get_task("land")
            ti = run.get_task_instance("land", session=session, map_index=map_index)
            return {name: task.get_extra_links(ti, name) or None for name in task.extra_links}

    from airflow.api_fastapi.app import create_app
    from fastapi.testclient import TestClient

    with TestClient(create_app(apps="core"), base_url="http://127.0.0.1") as web:
        token = web.get("/auth/token").json()["access_token"]
        answer = web.get(
            f"/api/v2/dags/{dag.dag_id}/dagRuns/{run_id}/taskInstances/land/links",
            params={"map_index": map_index},
            headers={"Authorization": f"Bearer {token}"},
        )
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["extra_links"])


def stored_links(dag: Any) -> list[str]:
    """Return the links that are stored as XComs."""
    from airflow.utils.session import create_session

    try:
        from airflow.models.xcom import XComModel
    except ImportError:  # Airflow 2
        from airflow.models.xcom import XCom as XComModel
    with create_session() as session:
        rows = session.query(XComModel).filter_by(dag_id=dag.dag_id, key="_link_LandedFileLink")
        return [row.value for row in rows]


@pytest.fixture
def land(flowroute: Any, run_dag: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS", "True")
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "a-secret-that-is-long-enough-for-its-algorithm-" * 2)

    def run(name: str, *paths: str) -> Any:
        with DAG(name, schedule=None, start_date=datetime(2019, 1, 1, tzinfo=UTC)) as dag:
            create = CreateCdrExportOperator(
                task_id="create", start_call_start_time="2019-06-25", start_call_end_time="2019-06-26"
            )
            if len(paths) == 1:
                CdrExportToObjectStorageOperator(task_id="land", export_id=create.output, path=paths[0])
            else:
                CdrExportToObjectStorageOperator.partial(task_id="land", export_id=create.output).expand(
                    path=paths
                )
        return dag, run_dag(dag)

    return run


def test_s3_landing_links_to_its_object_in_the_console(land):
    attach("s3", "lake", fs=MemoryFileSystem())

    dag, outcome = land("link_s3", "s3://lake@bucket/{{ 'cdrs' }}/day.csv")

    assert outcome.state == "success"
    assert links_of(dag) == {
        "Landed file": "https://console.aws.amazon.com/s3/object/bucket?prefix=cdrs/day.csv"
    }


def test_mapped_landings_link_to_their_own_files(land, tmp_path):
    attach("s3", "lake", fs=MemoryFileSystem())

    dag, outcome = land(
        "link_mapped", "s3://lake@bucket/a.csv", f"{tmp_path}/b.csv", "s3://lake@bucket/c.csv"
    )

    assert outcome.state == "success"
    assert [links_of(dag, index)["Landed file"] for index in range(3)] == [
        "https://console.aws.amazon.com/s3/object/bucket?prefix=a.csv",
        None,
        "https://console.aws.amazon.com/s3/object/bucket?prefix=c.csv",
    ]
    assert len(stored_links(dag)) == 2


def test_local_landing_has_no_link_and_logs_no_error(land, tmp_path, capsys):
    dag, outcome = land("link_disk", f"{tmp_path}/day.csv")

    assert outcome.state == "success"
    assert "XCom not found" not in outcome.log + capsys.readouterr().out
    assert links_of(dag) == {"Landed file": None}
    assert stored_links(dag) == []


def test_failed_landing_has_no_link(land, flowroute, capsys):
    attach("s3", "lake", fs=MemoryFileSystem())
    flowroute.add_fault("wrong_num_calls")

    dag, outcome = land("link_failed", "s3://lake@bucket/day.csv")

    assert outcome.state == "failed"
    assert "XCom not found" not in outcome.log + capsys.readouterr().out
    assert links_of(dag) == {"Landed file": None}
    assert stored_links(dag) == []
