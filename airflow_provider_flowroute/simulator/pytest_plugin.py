"""A pytest fixture: a Flowroute account of its own for each test that asks for ``flowroute``.

pytest imports this module in every run, whatever is tested: the libraries of the ``simulator`` extra, and Airflow,
are imported when the fixture is used.
"""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from airflow_provider_flowroute.simulator import FlowrouteSimulator

_MARKER = (
    "flowroute(conn_id='flowroute_default', extra=None, quick_deferral=True, **options): settings of the fixture "
    "flowroute: the connection's id and extra, whether a deferred wait is cut short, and those of FlowrouteSimulator."
)
_OWN_OPTIONS = {"conn_id": "flowroute_default", "extra": None, "quick_deferral": True}
_QUICK = 0.1


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, for those who run pytest with ``--strict-markers``."""
    config.addinivalue_line("markers", _MARKER)


@pytest.fixture
def flowroute_options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Settings of the account, from the test's ``flowroute`` markers; the nearest one counts.

    Override it to give a directory, a module or a class settings of its own.
    """
    options: dict[str, Any] = {}
    for marker in request.node.iter_markers("flowroute"):
        if marker.args:
            pytest.fail(
                f"The marker flowroute takes settings by name only, not {marker.args!r}.", pytrace=False
            )
        options = {**marker.kwargs, **options}
    return options


@pytest.fixture
def flowroute(
    flowroute_options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> Iterator[FlowrouteSimulator]:
    """A running Flowroute account, and the Airflow connection to it for as long as the test runs."""
    simulator_class = _simulator_class()
    options = _OWN_OPTIONS | flowroute_options
    conn_id, extra, quick_deferral = (options.pop(name) for name in _OWN_OPTIONS)
    known = list(inspect.signature(simulator_class).parameters)
    if unknown := sorted(options.keys() - set(known)):
        pytest.fail(
            f"The fixture flowroute has no setting {', '.join(unknown)}. "
            f"Its settings: {', '.join([*_OWN_OPTIONS, *known])}.",
            pytrace=False,
        )
    if quick_deferral:
        _cut_deferrals_short(monkeypatch)
    for name in ("NO_PROXY", "no_proxy"):  # a proxy cannot reach this machine's loopback
        monkeypatch.setenv(name, ",".join(filter(None, [os.environ.get(name), "127.0.0.1"])))
    with simulator_class(**options) as simulator:
        connection = {**simulator.connection, "extra": extra or {}}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
        yield simulator


def _cut_deferrals_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a trigger look at once and often, whatever the task's ``poke_interval``.

    The ten seconds that it gives Airflow otherwise are for a race with the scheduler, which is not in ``dag.test()``.
    """
    from airflow_provider_flowroute.triggers import cdr_export

    starting_now = cdr_export.CdrExportTrigger.starting_now

    def quick(export_id: str, *, poke_interval: float, **others: Any) -> cdr_export.CdrExportTrigger:
        return starting_now(export_id, poke_interval=min(poke_interval, _QUICK), **others)

    monkeypatch.setattr(cdr_export, "MIN_DEFERRAL_SECONDS", 0)
    monkeypatch.setattr(cdr_export.CdrExportTrigger, "starting_now", staticmethod(quick))


def _simulator_class() -> type[FlowrouteSimulator]:
    try:
        from airflow_provider_flowroute.simulator import FlowrouteSimulator
    except ImportError as missing:
        reason = str(missing)
    else:
        return FlowrouteSimulator
    pytest.fail(reason, pytrace=False)
