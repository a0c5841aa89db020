"""Landings in an Iceberg table, in a catalog on SQLite. All rounds replace the same window of one table."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_flowroute.api.client import FlowrouteClient
from airflow_provider_flowroute.landing.footer import footer_metadata
from airflow_provider_flowroute.landing.reconciliation import differing_figures

if TYPE_CHECKING:
    from pyiceberg.table import Table


def _load_table(out: Path) -> Table:
    from pyiceberg.catalog import load_catalog

    from airflow_provider_flowroute.landing.iceberg import load_or_create_table

    lake = out.with_name("lake")
    lake.mkdir(exist_ok=True)
    catalog = load_catalog(
        "bench", type="sql", uri=f"sqlite:///{lake}/catalog.db", warehouse=f"file://{lake}"
    )
    return load_or_create_table(catalog, "telephony.cdrs")


def iceberg(url: str, export_id: str, out: Path) -> Callable[[], None]:
    """Land the file with this package in a table."""
    from airflow_provider_flowroute.cdr.columns import COLUMNS
    from airflow_provider_flowroute.landing.iceberg import replace_window, utc_days_of
    from airflow_provider_flowroute.landing.partitions import stage_days

    client = FlowrouteClient("key", "secret", url)
    _load_table(out)  # imports the catalog, and creates the table

    def work() -> None:
        export = client.get_cdr_export(export_id)
        assert export.window is not None
        table = _load_table(out)
        with tempfile.TemporaryDirectory(dir=out.parent) as directory:
            with client.open_cdr_export(export) as download:
                result, days = stage_days(export, download, Path(directory), utc_days_of(export.window))
            assert not result.mismatches, result.mismatches
            files = [day.path for day in days if day.totals.rows]
            replace_window(table, export.window, files, COLUMNS, footer_metadata(export, result))

    return work


def iceberg_unchanged(url: str, export_id: str, out: Path) -> Callable[[], None]:
    """Find that a table already has the figures of the export, as ``overwrite="if_changed"`` does."""
    from airflow_provider_flowroute.landing.iceberg import landed_window

    client = FlowrouteClient("key", "secret", url)
    export = client.get_cdr_export(export_id)
    assert export.window is not None
    if landed_window(_load_table(out), export.window) is None:
        iceberg(url, export_id, out)()

    def work() -> None:
        export = client.get_cdr_export(export_id)
        assert export.window is not None
        landed = landed_window(_load_table(out), export.window)
        assert landed is not None
        assert not differing_figures(export, landed.footer.totals)

    return work
