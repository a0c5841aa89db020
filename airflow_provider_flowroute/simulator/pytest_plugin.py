"""Pytest fixtures: a Flowroute account for each test (``flowroute``) and whole DAG runs (``run_dag``).

Load the plugin in the top-level ``conftest.py``::

    pytest_plugins = ["airflow_provider_flowroute.simulator.pytest_plugin"]

A fixture imports Airflow, and the libraries of the ``simulator`` extra, only when a test uses it.
"""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from airflow_provider_flowroute.simulator import FlowrouteSimulator

_MARKER = (
    "flowroute(conn_id='flowroute_default', extra=None, quick_deferral=True, **options): options of the fixture "
    "flowroute: the connection's ID and extra, whether deferred waits are shortened, and those of FlowrouteSimulator."
)
_OWN_OPTIONS = {"conn_id": "flowroute_default", "extra": None, "quick_deferral": True}
_QUICK_POKE_INTERVAL = 0.1


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, for ``--strict-markers``."""
    config.addinivalue_line("markers", _MARKER)


@pytest.fixture
def flowroute_options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Options of the account, from the test's ``flowroute`` markers. The nearest marker takes precedence.

    Override this fixture to set options for a directory, a module or a class.
    """
    options: dict[str, Any] = {}
    for marker in request.node.iter_markers("flowroute"):
        if marker.args:
            pytest.fail(
                f"The marker flowroute has positional arguments: {marker.args!r}.\nPass options by name only.",
                pytrace=False,
            )
        options = {**marker.kwargs, **options}
    return options


@pytest.fixture
def flowroute(
    flowroute_options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> Iterator[FlowrouteSimulator]:
    """Start a Flowroute account and set the Airflow connection to it. Both exist until the test ends."""
    try:
        from airflow_provider_flowroute.simulator import FlowrouteSimulator
    except ImportError as error:
        pytest.fail(str(error), pytrace=False)
    options = _OWN_OPTIONS | flowroute_options
    conn_id, extra, quick_deferral = (options.pop(name) for name in _OWN_OPTIONS)
    known = list(inspect.signature(FlowrouteSimulator).parameters)
    if unknown := sorted(options.keys() - set(known)):
        pytest.fail(
            f"The fixture flowroute has no option {', '.join(unknown)}.\n"
            f"Its options: {', '.join([*_OWN_OPTIONS, *known])}.",
            pytrace=False,
        )
    if quick_deferral:
        _shorten_deferrals(monkeypatch)
    for name in ("NO_PROXY", "no_proxy"):  # a proxy cannot reach the loopback address of this machine
        monkeypatch.setenv(name, ",".join(filter(None, [os.environ.get(name), "127.0.0.1"])))
    with FlowrouteSimulator(**options) as simulator:
        connection = {**simulator.connection, "extra": extra or {}}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
        yield simulator


@pytest.fixture
def run_dag() -> Callable[..., Any]:
    """Return ``run_dag(dag, **kwargs)``, which runs a DAG with ``dag.test()`` and returns the DAG run.

    The DAG can be defined inside the test. ``kwargs`` are those of Airflow 3's ``dag.test()``, such as
    ``logical_date`` and ``run_conf``, on every version of Airflow. Airflow needs a migrated database.
    """

    def run(dag: Any, **kwargs: Any) -> Any:
        if hasattr(dag, "sync_to_db"):  # Airflow 2
            dag.sync_to_db()
            if "logical_date" in kwargs:
                kwargs["execution_date"] = kwargs.pop("logical_date")
        else:
            _serialize(dag)
        return dag.test(**kwargs)

    return run


def _serialize(dag: Any) -> None:
    """Write a DAG to the database. From Airflow 3.1, ``dag.test()`` requires it."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager

    try:
        from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    except ImportError:  # before Airflow 3.2
        from airflow.models.dagbag import DagBag, sync_bag_to_db  # type: ignore[no-redef]

    DagBundlesManager().sync_bundles_to_db()
    bag = DagBag(collect_dags=False)
    bag.bag_dag(dag)
    sync_bag_to_db(bag, "dags-folder", None)


def _shorten_deferrals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a trigger poll immediately and often, regardless of the task's ``poke_interval``.

    The minimum deferral avoids a race with the scheduler, which ``dag.test()`` does not have.
    """
    from airflow_provider_flowroute.triggers import cdr_export

    starting_now = cdr_export.CdrExportTrigger.starting_now

    def start_quickly(export_id: str, *, poke_interval: float, **kwargs: Any) -> cdr_export.CdrExportTrigger:
        return starting_now(export_id, poke_interval=min(poke_interval, _QUICK_POKE_INTERVAL), **kwargs)

    monkeypatch.setattr(cdr_export, "MIN_DEFERRAL_SECONDS", 0)
    monkeypatch.setattr(cdr_export.CdrExportTrigger, "starting_now", staticmethod(start_quickly))
