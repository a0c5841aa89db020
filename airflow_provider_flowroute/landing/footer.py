"""What a landed Parquet file says of itself, in the key-value metadata of its footer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from airflow_provider_flowroute import __version__
from airflow_provider_flowroute.cdr.export import CdrExport
from airflow_provider_flowroute.cdr.window import Window
from airflow_provider_flowroute.landing.reconciliation import Reconciliation

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

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


def window_of(path: ObjectStoragePath) -> Window | None:
    """Return the window of a landed file from its footer; None if there is no such file or no window.

    :param path: a Parquet file, on a local disk or in object storage.
    """
    try:
        with path.open("rb") as file:
            metadata = pq.read_metadata(file).metadata or {}
    # Everything, because each file system raises the errors of its own HTTP library, and this is only for a warning.
    except Exception:  # noqa: BLE001
        return None
    start, end = (metadata.get(f"{_PREFIX}window_{name}".encode(), b"").decode() for name in ("start", "end"))
    return Window(start, end) if start and end else None
