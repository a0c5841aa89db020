"""The DAG runs of the cases, each with an account of its own."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from airflow_provider_flowroute.simulator import FlowrouteSimulator
from tests.e2e.airflow_processes import OVER, Airflow, running, wait_for
from tests.support import a_closed_port

FOREVER = float("inf")
WINDOW = {"start": "2026-03-02 00:00:00", "end": "2026-03-03 00:00:00"}


@dataclass(frozen=True)
class Case:
    """One DAG run and the failure that it meets.

    :param name: ID of the DAG and of its connection.
    :param failure: describes the failure in the report.
    :param inject: causes the failure while the run is running.
    :param mode: ``plain`` (a sensor waits), ``waiting`` or ``deferrable`` (create waits itself).
    :param held_at: point where the first try of create stops to be killed: ``before`` or ``after`` its own work.
    :param fault: fault of the account, with its options.
    :param processing_seconds: time in seconds that an export takes.
    :param tries: expected number of tries of create.
    :param exports: expected number of exports of the account at the end.
    :param id_is_known: whether an Airflow that keeps task state does not need the account's list.
    :param run_continues: whether another task keeps the run running until the case allows it to end.
    :param resumes: whether the last try resumes the export of an earlier one.
    """

    name: str
    failure: str
    inject: Callable[[Run], None]
    mode: str = "plain"
    held_at: str | None = None
    fault: tuple[str, dict[str, Any]] | None = None
    processing_seconds: float = 1
    tries: int = 2
    exports: int = 1
    id_is_known: bool = False
    run_continues: bool = False
    resumes: bool = True


class Run:
    """The run of a case.

    :param case: the case.
    :param directory: holds the process IDs of its tasks, the account's state and the landed file.
    """

    def __init__(self, case: Case, directory: Path) -> None:
        self.case = case
        self.directory = directory
        directory.mkdir()
        self.ports = a_closed_port(), a_closed_port()
        self.state = directory / "account.json"
        self.path = directory / "cdrs.csv.gz"
        self.flowroute = self._account()
        self.airflow: Airflow

    def _account(self) -> FlowrouteSimulator:
        return FlowrouteSimulator(
            calls_per_day=50,
            processing_seconds=self.case.processing_seconds,
            port=self.ports[0],
            download_port=self.ports[1],
            state=self.state,
        )

    def as_json(self) -> dict[str, Any]:
        """Return the values that the DAG file needs."""
        case = self.case
        return {
            **WINDOW,
            "name": case.name,
            "mode": case.mode,
            "held_at": case.held_at,
            "run_continues": case.run_continues,
            "directory": str(self.directory),
            "path": str(self.path),
        }

    def connection_json(self) -> str:
        """Return the Airflow connection to the account."""
        return self.flowroute.connection_json

    def carry_out(self, airflow: Airflow) -> None:
        """Cause the failure of the case, then wait until the run ends."""
        self.airflow = airflow
        wait_for(lambda: airflow.run_state(self.case.name) == "running", f"{self.case.name} runs")
        self.case.inject(self)
        wait_for(self.has_ended, f"{self.case.name} ends")

    def has_ended(self) -> bool:
        return self.landings and self.airflow.run_state(self.case.name) in ("success", "failed")

    @property
    def landings(self) -> bool:
        """Whether the last landing of the run has ended, in any state."""
        return self.airflow.task(self.case.name, "land")[0] in ("success", "failed", "upstream_failed")

    def wait_for_process(self, point: str, attempt: int = 1) -> int:
        """Wait until a try of create reaches a point.

        :param point: ``before`` or ``after`` its work.
        :return: its process ID.
        """
        file = self.directory / f"create.{attempt}.{point}"
        wait_for(file.exists, f"{self.case.name}: try {attempt} reaches the point {point!r}")
        return int(file.read_text())

    def kill(self, attempt: int = 1) -> None:
        """Kill -9 a try of create."""
        os.kill(self.wait_for_process("before", attempt), signal.SIGKILL)

    def wait_until_deferred(self) -> None:
        """Wait until create waits in the triggerer and the trigger has polled."""
        wait_for(
            lambda: self.airflow.task(self.case.name, "create")[0] == "deferred",
            f"{self.case.name} is deferred",
        )
        seen = self.flowroute.exports[0].reads
        wait_for(lambda: self.flowroute.exports[0].reads > seen, f"{self.case.name}: its trigger polls")


AnyRun = TypeVar("AnyRun", bound=Run)
#: Each run by the name of its case, with the future of its end.
Started: TypeAlias = dict[str, tuple[AnyRun, Future[None]]]


@contextmanager
def carrying_out(
    runs: Sequence[AnyRun], make_airflow: Callable[[dict[str, str]], Airflow], directory: Path
) -> Iterator[Started[AnyRun]]:
    """Start an Airflow and carry out all runs in parallel.

    :param make_airflow: makes the Airflow with the environment variables that the cases need.
    :param directory: where to write the values that the DAG file needs.
    """

    def stop(run: AnyRun) -> None:
        run.flowroute.stop()  # the account that the run has now: a case may have replaced it

    cases = directory / "cases.json"
    cases.write_text(json.dumps([run.as_json() for run in runs]))
    env = {"E2E_CASES": str(cases)}
    with ExitStack() as stack:
        for run in runs:
            run.flowroute.start()
            stack.callback(stop, run)
            env[f"AIRFLOW_CONN_{run.case.name.upper()}"] = run.connection_json()
            if run.case.fault is not None:
                name, options = run.case.fault
                run.flowroute.add_fault(name, **options)
        airflow = stack.enter_context(running(make_airflow(env)))
        threads = stack.enter_context(ThreadPoolExecutor(len(runs)))
        stack.callback(OVER.set)
        yield {run.case.name: (run, threads.submit(run.carry_out, airflow)) for run in runs}
