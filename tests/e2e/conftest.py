"""One Airflow for all cases. Their DAG runs are running in parallel."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from tests.e2e.airflow_processes import VERSION, Airflow
from tests.e2e.cases import CASES
from tests.e2e.report import REPORT
from tests.e2e.runs import Run, Started, carrying_out


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started[Run]]:
    """Start all cases in parallel. Each test waits for its own case."""
    directory = tmp_path_factory.mktemp("cases")
    airflow = partial(Airflow, tmp_path_factory.mktemp("airflow"))
    with carrying_out([Run(case, directory / case.name) for case in CASES], airflow, directory) as started:
        yield started


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table of cases and outcomes."""
    if REPORT.rows:
        terminalreporter.write_line("")
        terminalreporter.write_line(REPORT.table(VERSION))
