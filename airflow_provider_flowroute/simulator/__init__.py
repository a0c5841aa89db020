"""A Flowroute account on localhost, to run one's own DAGs against.

It answers as the CDR export API does, quirks included, and misbehaves on request. Start it with
``python -m airflow_provider_flowroute.simulator``, or as a context manager in a test::

    with FlowrouteSimulator() as flowroute:
        monkeypatch.setenv("AIRFLOW_CONN_FLOWROUTE_DEFAULT", flowroute.connection_json)

Nothing here imports Airflow. The libraries of the ``simulator`` extra are loaded when a name is used.
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

_HOME = {
    "FlowrouteSimulator": "server",
    "RecordedRequest": "request_log",
    "SentCallback": "callbacks",
    "SimulatedExport": "exports",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith("airflow_provider_flowroute"):
            raise
        raise ImportError(
            f"The Flowroute simulator needs the library {missing.name!r}, which is not installed here. "
            "Install it with: pip install 'airflow-provider-flowroute[simulator]'"
        ) from missing
