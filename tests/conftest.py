"""Shared fixtures. Airflow reads its home when it is imported, so it is set here, before any test module is."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import settings

_AIRFLOW_HOME = tempfile.TemporaryDirectory(prefix="flowroute-tests-")
os.environ["AIRFLOW_HOME"] = _AIRFLOW_HOME.name
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "False"
# Whoever runs the tests may sit behind a proxy: it cannot reach this machine's loopback.
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"

from airflow_provider_flowroute.simulator import FlowrouteSimulator  # noqa: E402

# The same examples each time, so that a run that is red for one is red for all.
settings.register_profile("flowroute", deadline=None, derandomize=True, database=None)
settings.load_profile("flowroute")


@pytest.fixture
def flowroute() -> Iterator[FlowrouteSimulator]:
    """A running Flowroute account of its own for the test."""
    with FlowrouteSimulator(seed=1, calls_per_day=200) as simulator:
        yield simulator


@pytest.fixture
def an_account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., FlowrouteSimulator]]:
    """Makes a simulated account, and the connection ``flowroute_default`` to it."""
    with ExitStack() as stack:

        def start(**options: Any) -> FlowrouteSimulator:
            simulator = stack.enter_context(FlowrouteSimulator(seed=1, **options))
            monkeypatch.setenv("AIRFLOW_CONN_FLOWROUTE_DEFAULT", simulator.connection_json)
            return simulator

        yield start


@pytest.fixture
def account(an_account: Callable[..., FlowrouteSimulator]) -> FlowrouteSimulator:
    """An account whose exports are completed at the first look."""
    return an_account()


@pytest.fixture
def quick_deferral(monkeypatch: pytest.MonkeyPatch) -> None:
    """No ten seconds before a trigger's first look: the race that they avoid is not in ``dag.test()``."""
    monkeypatch.setattr("airflow_provider_flowroute.triggers.cdr_export.SHORTEST_DEFERRAL", 0.05)
