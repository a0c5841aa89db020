"""One Airflow, and three accounts whose exports complete when a test says so."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from airflow_provider_flowroute.simulator import FlowrouteSimulator
from airflow_provider_flowroute.utils.callback_urls import build_callback_url
from tests.docs.blocks import CHECKOUT
from tests.e2e.airflow_processes import OVER, VERSION, Airflow, in_session, running, wait_for
from tests.e2e.report import Report
from tests.support import PARAMETERS, client_of

SECRET = "a secret of these tests that signs callbacks"
REPORT = Report(("measured", "limit"))


@dataclass
class Account:
    """An account, and the consumer of its exports.

    :param conn_id: ID of its connection.
    """

    conn_id: str
    flowroute: FlowrouteSimulator
    airflow: Airflow = field(init=False)

    @property
    def connection(self) -> str:
        connection = json.loads(self.flowroute.connection_json)
        return json.dumps({**connection, "extra": {"callback_secret": SECRET}})

    def callback_url(self, run: str = "test") -> str:
        base_url = self.airflow.env["AIRFLOW__API__BASE_URL"]
        return build_callback_url(base_url, self.conn_id, SECRET, [run])

    def create(self, callback: bool = True) -> str:
        """Create an export as the portal or another program would, and return its ID."""
        with client_of(self.flowroute) as client:
            return client.create_cdr_export(PARAMETERS, self.callback_url() if callback else None).id

    def complete(self, export_id: str) -> float:
        """Complete an export and return the time."""
        self.flowroute.complete(export_id)
        return time.time()

    def events(self) -> list[tuple[str, str | None]]:
        """Return the export of each asset event and the start of the run that it caused, oldest first."""
        rows = self.airflow.query(
            "SELECT e.extra, r.start_date FROM asset_event e JOIN asset a ON a.id = e.asset_id"
            " LEFT JOIN dagrun_asset_event d ON d.event_id = e.id LEFT JOIN dag_run r ON r.id = d.dag_run_id"
            " WHERE a.name = :asset ORDER BY e.id",
            asset=f"exports_{self.conn_id}",
        )
        return [
            (json.loads(str(extra))["payload"]["export_id"], None if start is None else str(start))
            for extra, start in rows
        ]

    def run_started_at(self, export_id: str, seconds: float = 60) -> float:
        """Wait for the run of an export's event and return its start."""

        def start() -> str | None:
            return next((start for name, start in self.events() if name == export_id), None)

        found = wait_for(start, f"the run of export {export_id}", seconds)
        assert found is not None
        return datetime.fromisoformat(found).replace(tzinfo=UTC).timestamp()

    def polls(self) -> int:
        """Return the number of requests to the account."""
        return len(self.flowroute.requests)


@dataclass
class World:
    """The Airflow and its accounts.

    :param example: the account of the example DAG.
    :param lake: the directory in which the example DAG lands.
    """

    airflow: Airflow
    by_callback: Account
    by_watcher: Account
    example: FlowrouteSimulator
    lake: Path

    @property
    def api_server(self) -> list[psutil.Process]:
        return [psutil.Process(pid) for pid in in_session(self.airflow.parts["api-server"].pid)]

    def wait_for_api_server(self) -> None:
        import requests

        def is_healthy() -> bool:
            try:
                return requests.get(self.health_url, timeout=5).ok
            except requests.ConnectionError:
                return False

        wait_for(is_healthy, "the API server answers")

    @property
    def health_url(self) -> str:
        return f"{self.airflow.env['AIRFLOW__API__BASE_URL']}/api/v2/monitor/health"


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Start everything, and wait until all watchers watch."""
    forever = float("inf")
    with (
        FlowrouteSimulator(
            calls_per_day=20, processing_seconds=forever, callback_retries=90, callback_retry_seconds=2
        ) as one,
        FlowrouteSimulator(calls_per_day=20, processing_seconds=forever) as other,
        FlowrouteSimulator(calls_per_day=20, processing_seconds=forever) as third,
    ):
        dags, lake = tmp_path_factory.mktemp("dags"), tmp_path_factory.mktemp("lake")
        shutil.copy(Path(__file__).parent / "dags" / "events.py", dags)
        shutil.copy(CHECKOUT / "example_dags" / "flowroute_on_completion.py", dags)
        by_callback, by_watcher = Account("by_callback", one), Account("by_watcher", other)
        env = {
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW_VAR_FLOWROUTE_LAKE": str(lake),
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
            "AIRFLOW_CONN_BY_CALLBACK": by_callback.connection,
            "AIRFLOW_CONN_BY_WATCHER": by_watcher.flowroute.connection_json,
            "AIRFLOW_CONN_FLOWROUTE_DEFAULT": third.connection_json,
        }
        with running(Airflow(tmp_path_factory.mktemp("airflow"), env)) as airflow:
            by_callback.airflow = by_watcher.airflow = airflow
            made = World(airflow, by_callback, by_watcher, third, lake)
            made.wait_for_api_server()
            example = "flowroute_on_completion"
            wait_for(
                lambda: airflow.query("SELECT 1 FROM dag WHERE dag_id = :example", example=example),
                "the example is parsed",
            )
            airflow.run("dags", "unpause", example)
            wait_for(
                lambda: len(airflow.query("SELECT 1 FROM asset_state_store")) >= 3, "all watchers watch", 120
            )
            try:
                yield made
            finally:
                OVER.set()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured."""
    if REPORT.rows:
        terminalreporter.write_line("")
        terminalreporter.write_line(REPORT.table(VERSION))
