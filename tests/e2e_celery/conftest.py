"""One Airflow with CeleryExecutor for all cases. Their DAG runs are running in parallel."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import pytest_terminal_summary  # noqa: F401
from tests.e2e.report import REPORT
from tests.e2e.runs import Started, carrying_out
from tests.e2e_celery.cases import CASES, ExampleRun
from tests.e2e_celery.celery_airflow import CeleryAirflow
from tests.services import postgres, redis

REPORT.columns = ("DAG", "outcome", "most tries of a task", "windows", "exports")


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started[ExampleRun]]:
    """Start all cases in parallel. Each test waits for its own case."""
    directory = tmp_path_factory.mktemp("cases")
    dags = tmp_path_factory.mktemp("dags")
    home = tmp_path_factory.mktemp("airflow")
    example_runs = [ExampleRun(case, directory / case.name) for case in CASES]
    for run in example_runs:
        run.write_dag(dags)
    with postgres() as database_url, redis() as broker_url:

        def airflow(env: dict[str, str]) -> CeleryAirflow:
            env = {**env, "AIRFLOW__CORE__DAGS_FOLDER": str(dags)}
            return CeleryAirflow(home, env, database_url=database_url, broker_url=broker_url)

        with carrying_out(example_runs, airflow, directory) as started:
            yield started
