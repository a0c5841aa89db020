"""Airflow's web interface in a real browser: `airflow standalone`, Chromium, and a Flowroute account on localhost."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from airflow_provider_flowroute.simulator import FlowrouteSimulator

from .pages import Airflow2Pages, Airflow3Pages

CHECKOUT = Path(__file__).parents[2]
sys.path.append(str(CHECKOUT / "scripts"))

from airflow_env import AIRFLOW_VERSION, airflow  # noqa: E402
from airflow_standalone import (  # noqa: E402
    AIRFLOW_2,
    free_port,
    password,
    standalone,
    ui_env,
    wait_until_healthy,
)

HOME = CHECKOUT / ".airflow-e2e-ui" / ".".join(AIRFLOW_VERSION.split(".")[:2])
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",  # which root may not use
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@dataclass
class Ui:
    """An Airflow that runs, with no connection in it yet.

    :param address: of its web interface.
    :param password: of the user admin.
    :param env: the environment of its processes.
    :param flowroute: the account that connections lead to.
    """

    address: str
    password: str
    env: dict[str, str]
    flowroute: FlowrouteSimulator

    @property
    def lake(self) -> Path:
        """Where the example DAGs land their files."""
        return Path(self.env["AIRFLOW_VAR_FLOWROUTE_LAKE"])

    @property
    def pictures(self) -> Path:
        """Where pictures for the documentation go; `make pictures` copies them on."""
        return Path(self.env["AIRFLOW_HOME"]) / "img"

    def cli(self, *arguments: str, ends_with: int = 0) -> str:
        """Run an Airflow command to its end, and return what it printed."""
        done = subprocess.run(
            airflow(*arguments),
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == ends_with, done.stdout + done.stderr
        return done.stdout

    def add(self, conn_id: str, secret_key: str, *, port: int | None = 0) -> None:
        """Save a connection, with the port in its own field unless told otherwise."""
        url = urlsplit(self.flowroute.url)
        connection = {**self.flowroute.connection, "password": secret_key}
        if port is not None:
            connection |= {"host": f"http://{url.hostname}", "port": url.port}
        self.cli("connections", "add", conn_id, "--conn-json", json.dumps(connection))

    def state_of(self, run_id: str, seconds: float = 240) -> str:
        """How a run ended."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            rows = self._query("select state from dag_run where run_id = ?", run_id)
            if rows and rows[0][0] in ("success", "failed"):
                return str(rows[0][0])
            time.sleep(1)
        raise AssertionError(f"{run_id} did not end in {seconds:g} s: {rows}")

    def _query(self, sql: str, *values: str) -> list[tuple[Any, ...]]:
        """Read Airflow's database, without an Airflow command's four seconds."""
        database = Path(self.env["AIRFLOW_HOME"]) / "airflow.db"
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30) as connection:
            return connection.execute(sql, values).fetchall()


@pytest.fixture(scope="session")
def flowroute_account() -> Iterator[FlowrouteSimulator]:
    """The one account of the session: the fixture flowroute makes one for each test."""
    with FlowrouteSimulator(secret_key="a-secret-key-that-nobody-may-see") as account:
        yield account


@pytest.fixture(scope="session")
def ui(flowroute_account: FlowrouteSimulator) -> Iterator[Ui]:
    """The Airflow. Its home stays in the checkout, for whoever wants to know why a test failed."""
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir(parents=True)
    shutil.copytree(CHECKOUT / "example_dags", HOME / "dags")
    shutil.copytree(Path(__file__).parent / "dags", HOME / "dags", dirs_exist_ok=True)
    port = free_port()
    env = ui_env(HOME, port, "")
    del env["AIRFLOW_CONN_FLOWROUTE_DEFAULT"]  # it would hide what the form saves
    env |= {
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


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, as the system has it: playwright's own download is not needed."""
    found = os.environ.get("BROWSER_PATH") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.exit(f"No browser: install chromium, or name one in BROWSER_PATH (looked for {BROWSERS}).", 1)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A browser tab. A picture of its end is kept beside Airflow's log."""
    context = browser.new_context(viewport={"width": 1100, "height": 1300}, locale="en-US")
    page = context.new_page()
    page.set_default_timeout(20_000)
    yield page
    page.screenshot(path=HOME / f"{request.node.name}.png")
    context.close()


@pytest.fixture
def pages(page: Page, ui: Ui) -> Airflow2Pages | Airflow3Pages:
    """The pages of whichever Airflow it is, signed in."""
    pages = (Airflow2Pages if AIRFLOW_2 else Airflow3Pages)(page, ui.address)
    pages.sign_in(ui.password)
    return pages
