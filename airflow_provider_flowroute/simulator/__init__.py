"""A simulated Flowroute account on localhost, for running DAGs without Flowroute.

It answers like the CDR export API, with the same quirks, and simulates faults on request. Start it with
``python -m airflow_provider_flowroute.simulator``, or as a context manager in a test::

    with FlowrouteSimulator() as flowroute:
        monkeypatch.setenv("AIRFLOW_CONN_FLOWROUTE_DEFAULT", flowroute.connection_json)

The simulator does not import Airflow. It imports the libraries of the ``simulator`` extra on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_flowroute.simulator.callbacks import SentCallback
    from airflow_provider_flowroute.simulator.exports import SimulatedExport
    from airflow_provider_flowroute.simulator.request_log import RecordedRequest
    from airflow_provider_flowroute.simulator.server import FlowrouteSimulator

__all__ = ["FlowrouteSimulator", "RecordedRequest", "SentCallback", "SimulatedExport"]

_MODULES = {
    "FlowrouteSimulator": "server",
    "RecordedRequest": "request_log",
    "SentCallback": "callbacks",
    "SimulatedExport": "exports",
    "main": "cli",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("airflow_provider_flowroute"):
            raise
        raise ImportError(
            f"The Flowroute simulator needs the library {error.name!r}.\nIt is not installed here.\n"
            "Install it with: pip install 'airflow-provider-flowroute[simulator]'"
        ) from error
