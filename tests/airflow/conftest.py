"""Fixtures that run complete DAGs on the installed version of Airflow."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import pytest
from packaging.version import Version

AIRFLOW_2 = version("apache-airflow").startswith("2.")
AIRFLOW_BEFORE_3_3 = Version(version("apache-airflow")).release < (3, 3)

#: The default logical date of a DAG run.
DAY = datetime(2026, 11, 20, tzinfo=UTC)


@pytest.fixture(scope="session")
def airflow_db() -> None:
    """An empty Airflow database, in the AIRFLOW_HOME that tests/conftest.py made."""
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@dataclass
class Outcome:
    """The result of a DAG run."""

    state: str
    states: dict[str, str]
    tries: dict[str, int]
    xcoms: dict[str, Any]
    log: str


@pytest.fixture
def run_dag(
    run_dag: Callable[..., Any], airflow_db: None, caplog: pytest.LogCaptureFixture
) -> Callable[..., Outcome]:
    """Run a DAG with the plugin's ``run_dag`` and return its outcome."""

    def run(dag: Any, logical_date: datetime | None = DAY, conf: dict[str, Any] | None = None) -> Outcome:
        with caplog.at_level(logging.DEBUG):
            dag_run = run_dag(dag, logical_date=logical_date, run_conf=conf)
        return _outcome(dag, dag_run, caplog)

    return run


def _outcome(dag: Any, dag_run: Any, caplog: pytest.LogCaptureFixture) -> Outcome:
    from airflow.utils.session import create_session

    try:
        from airflow.models.xcom import XComModel
    except ImportError:  # Airflow 2
        from airflow.models.xcom import XCom as XComModel
    states, tries, xcoms = {}, {}, {}
    with create_session() as session:
        for ti in dag_run.get_task_instances(session=session):
            name = ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]"
            states[name], tries[name] = str(ti.state), ti.try_number
            found = (
                session.query(XComModel)
                .filter(
                    XComModel.dag_id == dag.dag_id,
                    XComModel.run_id == dag_run.run_id,
                    XComModel.task_id == ti.task_id,
                    XComModel.map_index == ti.map_index,
                    XComModel.key == "return_value",
                )
                .first()
            )
            if found is not None:
                xcoms[name] = found.value
    return Outcome(
        str(dag_run.state.value if hasattr(dag_run.state, "value") else dag_run.state),
        states,
        tries,
        xcoms,
        caplog.text,
    )


@pytest.fixture
def what_tasks_keep(airflow_db: None) -> Callable[[str], list[Any]]:
    """Return the stored state of a DAG's tasks; an empty list where Airflow has no state store."""

    def read(dag_id: str) -> list[Any]:
        from airflow.utils.session import create_session

        try:
            from airflow.models.task_state_store import TaskStateStoreModel
        except ImportError:
            return []
        with create_session() as session:
            rows = session.query(TaskStateStoreModel).filter_by(dag_id=dag_id)
            return [(row.task_id, row.key, row.value) for row in rows]

    return read


@pytest.fixture
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Search once, instead of for half a minute, for an export that does not exist."""
    monkeypatch.setattr("airflow_provider_flowroute.api.idempotency.LOOKUP_DELAYS", (0,))
