"""One Airflow for all cases. Their DAG runs are running in parallel."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.airflow_processes import OVER, VERSION, Airflow, running
from tests.e2e.cases import CASES, Run
from tests.e2e.report import Report

REPORT = Report()


def stop(run: Run) -> None:
    """Stop the account that the run has now: a case may have replaced it."""
    run.flowroute.stop()


@pytest.fixture(scope="session")
def airflow_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("airflow")


@pytest.fixture(scope="session")
def runs(
    airflow_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, tuple[Run, Future[None]]]]:
    """Start all cases in parallel. Each test waits for its own case."""
    directory = tmp_path_factory.mktemp("cases")
    case_runs = [Run(case, directory / case.name) for case in CASES]
    cases = directory / "cases.json"
    cases.write_text(json.dumps([run.as_json() for run in case_runs]))
    env = {"E2E_CASES": str(cases)}
    with ExitStack() as stack:
        for run in case_runs:
            run.flowroute.start()
            stack.callback(partial(stop, run))
            env[f"AIRFLOW_CONN_{run.case.name.upper()}"] = run.flowroute.connection_json
            if run.case.fault is not None:
                name, options = run.case.fault
                run.flowroute.add_fault(name, **options)
        airflow = stack.enter_context(running(Airflow(airflow_home, env)))
        threads = stack.enter_context(ThreadPoolExecutor(len(case_runs)))
        stack.callback(OVER.set)
        yield {run.case.name: (run, threads.submit(run.carry_out, airflow)) for run in case_runs}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table of cases and outcomes."""
    if REPORT.rows:
        terminalreporter.write_line("")
        terminalreporter.write_line(REPORT.table(VERSION))
