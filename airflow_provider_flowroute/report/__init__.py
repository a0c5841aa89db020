"""A report of the landed calls: one HTML file. Needs the extra ``report`` (pyarrow, numpy, jinja2, click).

Write it with ``python -m airflow_provider_flowroute.report``, or with :func:`write_report`. The report contains the
names of destinations and the aliases of numbers, but no phone number and no caller ID.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_flowroute.report.data import ReportData
    from airflow_provider_flowroute.report.write import write_report

__all__ = ["ReportData", "write_report"]

_MODULES = {"ReportData": "data", "write_report": "write"}


def __getattr__(name: str) -> Any:
    # The libraries of the extra are imported at the first use.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
