"""What a landed Parquet file says of itself, in the key-value metadata of its footer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from airflow_provider_flowroute import __version__
from airflow_provider_flowroute.cdr.export import CdrExport
from airflow_provider_flowroute.landing.reconciliation import Reconciliation

_PREFIX = "flowroute."


def footer_metadata(export: CdrExport, result: Reconciliation) -> Mapping[str, str]:
    """Return the metadata of a file: export, window, totals and checks.

    :param export: the export that the file holds.
    :param result: the file's reconciliation.
    """
    window = export.window
    values: dict[str, Any] = {
        "export_id": export.id,
        "window_start": window.start.isoformat() if window else "",
        "window_end": window.end.isoformat() if window else "",
        "provider_version": __version__,
        "totals": result.totals.as_json(),
        "reconciliation": result.as_json(),
    }
    return {
        f"{_PREFIX}{name}": value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
    }
