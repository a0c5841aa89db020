"""Landings in an Iceberg table, in a catalog on SQLite. All rounds replace the same window of one table."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from airflow_provider_flowroute.api.client import FlowrouteClient


def iceberg(url: str, export_id: str, out: Path) -> Callable[[], None]:
    """Land the file with this package in a table."""
    from pyiceberg.catalog import load_catalog

    from airflow_provider_flowroute.cdr.columns import COLUMNS
    from airflow_provider_flowroute.landing import iceberg as tables
    from airflow_provider_flowroute.landing.footer import footer_metadata

    client = FlowrouteClient("key", "secret", url)
    lake = out.with_name("lake")
    lake.mkdir(exist_ok=True)
    catalog = load_catalog(
        "bench", type="sql", uri=f"sqlite:///{lake}/catalog.db", warehouse=f"file://{lake}"
    )

    def work() -> None:
        export = client.get_cdr_export(export_id)
        assert export.window is not None
        table = tables.load_or_create_table(catalog, "telephony.cdrs")
        with tempfile.TemporaryDirectory(dir=out.parent) as directory:
            with client.open_cdr_export(export) as download:
                result, days = tables.stage_utc_days(export, download, Path(directory), export.window)
            assert not result.mismatches, result.mismatches
            files = [day.path for day in days]
            tables.replace_window(table, export.window, files, COLUMNS, footer_metadata(export, result))
        assert tables.landed_window(table, export.window) is not None

    return work
