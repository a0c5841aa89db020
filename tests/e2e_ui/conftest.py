"""Airflow's web interface in a real browser: `airflow standalone`, Chromium and a simulated Flowroute account."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from airflow_provider_flowroute.simulator import FlowrouteSimulator
from tests.browser import browser  # noqa: F401 - a fixture
from tests.support import wait_until

from .pages import Airflow2Pages, Airflow3Pages

CHECKOUT = Path(__file__).parents[2]
sys.path.append(str(CHECKOUT / "scripts"))

from airflow_env import AIRFLOW_VERSION, airflow  # noqa: E402
from airflow_standalone import (  # noqa: E402
    AIRFLOW_2,
    connection_with_port,
    free_port,
    password,
    standalone,
    ui_env,
    wait_until_healthy,
)

HOME = CHECKOUT / ".airflow-e2e-ui" / ".".join(AIRFLOW_VERSION.split(".")[:2])


@dataclass
class Ui:
    """A running Airflow without a connection.

    :param address: URL of the web interface.
    :param password: password of the user admin.
    :param env: environment of the processes.
    :param flowroute: account that the connections use.
    """

    address: str
    password: str
    env: dict[str, str]
    flowroute: FlowrouteSimulator

    @property
    def lake(self) -> Path:
        """Directory where the example DAGs land their files."""
        return Path(self.env["AIRFLOW_VAR_FLOWROUTE_LAKE"])

    @property
    def pictures(self) -> Path:
        """Directory of the pictures for the documentation; `make pictures` copies them."""
        return Path(self.env["AIRFLOW_HOME"]) / "img"

    def cli(self, *arguments: str, exit_code: int = 0) -> str:
        """Run an Airflow command, check its exit code, and return its output."""
        done = subprocess.run(
            airflow(*arguments),
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == exit_code, done.stdout + done.stderr
        return done.stdout

    def add(self, conn_id: str, secret_key: str, *, with_port: bool = True) -> None:
        """Save a connection, with the port in its own field or as part of the host."""
        connection: dict[str, Any] = {**self.flowroute.connection, "password": secret_key}
        if with_port:
            connection = connection_with_port(connection)
        self.cli("connections", "add", conn_id, "--conn-json", json.dumps(connection))

    def state_of(self, run_id: str, seconds: float = 240) -> str:
        """Wait until a run ends, and return its state."""

        def final_state() -> str:
            rows = self.query("select state from dag_run where run_id = ?", run_id)
            return str(rows[0][0]) if rows and rows[0][0] in ("success", "failed") else ""

        return wait_until(final_state, seconds, f"{run_id} ends", interval=1)

    def query(self, sql: str, *values: str) -> list[tuple[Any, ...]]:
        """Query Airflow's database. An Airflow command would take four seconds."""
        database = Path(self.env["AIRFLOW_HOME"]) / "airflow.db"
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30) as connection:
            return connection.execute(sql, values).fetchall()


@pytest.fixture(scope="session")
def flowroute_account() -> Iterator[FlowrouteSimulator]:
    """The account of the session. The fixture flowroute would start one for each test."""
    with FlowrouteSimulator(secret_key="a-secret-key-that-nobody-may-see") as account:
        yield account


@pytest.fixture(scope="session")
def ui(flowroute_account: FlowrouteSimulator) -> Iterator[Ui]:
    """The Airflow. Its home stays in the checkout, to analyse a failed test."""
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir(parents=True)
    shutil.copytree(CHECKOUT / "example_dags", HOME / "dags")
    shutil.copytree(Path(__file__).parent / "dags", HOME / "dags", dirs_exist_ok=True)
    port = free_port()
    env = ui_env(HOME, port) | {
        "AIRFLOW__CORE__DAGS_FOLDER": str(HOME / "dags"),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__API__AUTH_BACKENDS": "airflow.providers.fab.auth_manager.api.auth.backend.session",
    }
    log = HOME / "airflow.log"
    address = f"http://127.0.0.1:{port}"
    with standalone(env, log) as process:
        wait_until_healthy(process, address, log)
        yield Ui(address, password(HOME), env, flowroute_account)


@pytest.fixture
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:  # noqa: F811
    """A browser tab. A screenshot of its last state is saved beside Airflow's log."""
    context = browser.new_context(viewport={"width": 1100, "height": 1300}, locale="en-US")
    page = context.new_page()
    page.set_default_timeout(20_000)
    yield page
    page.screenshot(path=HOME / f"{request.node.name}.png")
    context.close()


@pytest.fixture
def pages(page: Page, ui: Ui) -> Airflow2Pages | Airflow3Pages:
    """The pages of the installed Airflow, after the sign-in."""
    pages = (Airflow2Pages if AIRFLOW_2 else Airflow3Pages)(page, ui.address)
    pages.sign_in(ui.password)
    return pages
