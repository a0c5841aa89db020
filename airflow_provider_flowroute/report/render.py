"""Render a report as one HTML file without scripts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from airflow_provider_flowroute.report.data import ReportData
from airflow_provider_flowroute.report.previous import DATA_ID, compare


def render(data: ReportData, previous: Mapping[str, Any] | None = None) -> str:
    """Return the HTML of a report.

    :param data: its figures.
    :param previous: the figures of an earlier report.
    """
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        data=data, changes=compare(data, previous) if previous is not None else None, data_id=DATA_ID
    )
