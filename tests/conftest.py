"""Shared fixtures. Airflow reads its home at import, so the home is set here, before any test module loads."""

from __future__ import annotations

import json
import os
import tempfile
from typing import Any

import pytest
from hypothesis import settings

from tests.statsd import StatsdServer

_AIRFLOW_HOME = tempfile.TemporaryDirectory(prefix="flowroute-tests-")
os.environ["AIRFLOW_HOME"] = _AIRFLOW_HOME.name
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "False"
# Every test sends its metrics: no metric may break a task.
_STATSD = StatsdServer()
os.environ.update(_STATSD.settings)
# A proxy of the developer cannot reach the loopback of this machine.
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"

from airflow_provider_flowroute.api.client import FlowrouteClient  # noqa: E402
from airflow_provider_flowroute.cdr.export import CdrExport  # noqa: E402
from airflow_provider_flowroute.simulator import FlowrouteSimulator  # noqa: E402
from tests.support import PARAMETERS, SECRET_KEY, FakeClock, client_of  # noqa: E402

pytest_plugins = ["airflow_provider_flowroute.simulator.pytest_plugin"]

# Every run uses the same examples, so a failure is a failure for everybody.
settings.register_profile("flowroute", deadline=None, derandomize=True, database=None)
settings.load_profile("flowroute")


@pytest.fixture
def statsd() -> StatsdServer:
    """The server that receives the metrics of Airflow. It starts empty."""
    _STATSD.receive()
    return _STATSD


@pytest.fixture
def clock() -> FakeClock:
    """A clock for a client whose delays must not take time."""
    return FakeClock()


@pytest.fixture
def client(flowroute: FlowrouteSimulator, clock: FakeClock) -> FlowrouteClient:
    """A client for that account, whose delays take no time."""
    return client_of(flowroute, clock=clock)


@pytest.fixture
def export(client: FlowrouteClient) -> CdrExport:
    """A completed export of that account."""
    return client.get_cdr_export(client.create_cdr_export(PARAMETERS).id)


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that sets the connection ``my_flowroute`` and returns its hook."""

    def make(connection: str | None = None, **fields: Any) -> Any:
        from airflow_provider_flowroute.hooks.flowroute import FlowrouteHook

        keys = {"login": "the-access-key", "password": SECRET_KEY}
        text = connection or json.dumps({"conn_type": "flowroute", **keys, **fields})
        monkeypatch.setenv("AIRFLOW_CONN_MY_FLOWROUTE", text)
        return FlowrouteHook("my_flowroute")

    return make
