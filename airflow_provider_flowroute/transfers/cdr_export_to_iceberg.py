"""Land an export in an Apache Iceberg table."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_flowroute.cdr.export import check_export_id, pluralize
from airflow_provider_flowroute.exceptions import (
    CdrExportFormatError,
    CdrExportIntegrityError,
    CdrExportLandingError,
    CdrExportMismatchError,
    FlowrouteValueError,
)
from airflow_provider_flowroute.hooks.flowroute import FlowrouteHook
from airflow_provider_flowroute.landing import check_format
from airflow_provider_flowroute.transfers.cdr_export_to_object_storage import (
    ON_MISMATCH,
    CdrExportToObjectStorageOperator,
)
from airflow_provider_flowroute.utils.mixins import (
    FlowrouteHookMixin,
    closes_connections,
    fail_without_retry,
    is_literal,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

    from airflow_provider_flowroute.cdr.export import CdrExport
    from airflow_provider_flowroute.cdr.window import Window


class CdrExportToIcebergOperator(FlowrouteHookMixin, BaseOperator):
    """Download a completed export, reconcile it, and replace its window in an Iceberg table with one commit.

    The calls are staged and checked as by ``CdrExportToObjectStorageOperator``, and uploaded as one Parquet file for
    each UTC day. Then one commit deletes the calls of the export's window, and only those, and adds the files: readers
    see the complete old window or the complete new one. A missing table is created with the documented types and a
    partition for each UTC day. A new column in the file is added to the table.

    Returns ``rows``, ``total_cost`` (US dollars, as text), ``billed_minutes`` (as text), ``first_start`` and
    ``last_start`` (ISO 8601, UTC), ``table``, ``snapshot_id`` (as text), ``files`` (their number), ``bytes``,
    ``export_id`` and ``reconciliation``, as ``CdrExportToObjectStorageOperator`` does. The events of the assets in
    ``outlets`` get the same values in their ``extra``.

    :param export_id: the ID of a completed export. (templated)
    :param table: the table as ``namespace.name``. (templated)
    :param catalog: the name of a catalog in pyiceberg's configuration. Default: the default catalog there.
        (templated)
    :param iceberg_conn_id: the ID of an Airflow connection of type ``iceberg``, instead of ``catalog``. (templated)
    :param on_mismatch: what to do with an intact file that does not match Flowroute's figures: ``fail`` leaves the
        table unchanged, ``warn`` lands the calls and logs a warning. Calls outside the window always fail the task.
    :param overwrite: replace the calls that the table has in the window. If False, such calls fail the task.
    :param flowroute_conn_id: the ID of the Airflow connection. (templated)
    :raises CdrExportIntegrityError: the file is incomplete or damaged. A retry downloads it again.
    :raises CdrExportMismatchError: the file does not match Flowroute's figures.
    :raises CdrExportLandingError: the catalog or its storage does not accept the files, or another writer changed the
        window at the same time.
    :raises AirflowFailException: a permanent error: an ID, a catalog or a link that cannot be used, a table that does
        not fit the files, or a file that does not have the documented format.
    """

    template_fields: Sequence[str] = ("export_id", "table", "catalog", "iceberg_conn_id", "flowroute_conn_id")
    ui_color = "#b3d4c3"

    def __init__(
        self,
        *,
        export_id: str,
        table: str,
        catalog: str | None = None,
        iceberg_conn_id: str | None = None,
        on_mismatch: Literal["fail", "warn"] = "fail",
        overwrite: bool = True,
        flowroute_conn_id: str = FlowrouteHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.export_id = export_id
        self.table = table
        self.catalog = catalog
        self.iceberg_conn_id = iceberg_conn_id
        self.on_mismatch = on_mismatch
        self.overwrite = overwrite
        self.flowroute_conn_id = flowroute_conn_id
        # Permanent errors, because a mapped task is instantiated on the worker.
        with fail_without_retry():
            if on_mismatch not in ON_MISMATCH:
                raise FlowrouteValueError(f"on_mismatch is {on_mismatch!r}.\nUse 'fail' or 'warn'.")
            if catalog is not None and iceberg_conn_id is not None:
                raise FlowrouteValueError(
                    "catalog and iceberg_conn_id are both set.\n"
                    "Each of them names a catalog, and a table is in one.\nSet one of them."
                )
            if isinstance(table, str) and is_literal(table):
                self._check_table()

    @closes_connections
    def execute(self, context: Context) -> dict[str, Any]:
        """Download, reconcile and commit."""
        with fail_without_retry():
            export_id = check_export_id(self.export_id)
            self._check_table()
            _check_installed()
            export = self.client.get_cdr_export(export_id)
            export.check_completed()
            with self._add_error_context(export):
                landed = self._land(export)
        self.log.info(
            "Landed export %s: %s, %s billed minutes, %s USD, %s in table %s, snapshot %s.",
            export.id,
            pluralize(landed["rows"], "call"),
            landed["billed_minutes"],
            landed["total_cost"],
            pluralize(landed["files"], "file"),
            self.table,
            landed["snapshot_id"],
        )
        self._add_asset_event_extra(context, landed)
        return landed

    def _land(self, export: CdrExport) -> dict[str, Any]:
        from airflow_provider_flowroute.landing import iceberg
        from airflow_provider_flowroute.landing.csv_stream import Header
        from airflow_provider_flowroute.landing.footer import footer_metadata

        window = self._window_of(export)
        table = iceberg.load_or_create_table(self._catalog(), self.table)
        iceberg.check_table(table)
        self._check_overwrite(table, window)
        with tempfile.TemporaryDirectory(prefix="flowroute-") as directory:
            with self.client.open_cdr_export(export) as download:
                result, days = iceberg.stage_utc_days(export, download, Path(directory), window)
            self._enforce_reconciliation(export, result)
            if result.unassigned:
                raise CdrExportMismatchError(
                    f"{pluralize(result.unassigned, 'call')} of the file did not start in its window.\n"
                    f"The window is {window}. No later landing of the window would replace them in the table."
                )
            columns = Header(result.columns).columns
            iceberg.check_table(table, columns)
            files = [day.path for day in days if day.totals.rows]
            properties = footer_metadata(export, result)
            snapshot = iceberg.replace_window(table, window, files, columns, properties)
            size = sum(path.stat().st_size for path in files)
        return {
            **result.totals.as_json(),
            "table": self.table,
            "snapshot_id": str(snapshot.snapshot_id),
            "files": len(files),
            "bytes": size,
            "export_id": export.id,
            "reconciliation": result.as_json(),
        }

    def _check_table(self) -> None:
        """Check the name of the table as text."""
        parts = str(self.table).split(".")
        if len(parts) < 2 or not all(parts) or "None" in parts:
            raise FlowrouteValueError(
                f"table is {str(self.table)!r}, which names no table.\n"
                f"Give a namespace and a name, such as 'telephony.cdrs'."
            )

    def _catalog(self) -> Catalog:
        from pyiceberg.catalog import load_catalog

        from airflow_provider_flowroute.landing.iceberg import catalog_errors

        if self.iceberg_conn_id is None:
            with catalog_errors(f"pyiceberg cannot load the catalog {self.catalog or 'default'!r}."):
                return load_catalog(self.catalog)
        if not importlib.util.find_spec("airflow.providers.apache.iceberg"):
            raise FlowrouteValueError(
                "iceberg_conn_id is set, but this worker has no provider for it.\n"
                "Install apache-airflow-providers-apache-iceberg, or set catalog instead."
            )
        from airflow.providers.apache.iceberg.hooks.iceberg import IcebergHook

        with catalog_errors(f"The catalog of connection {self.iceberg_conn_id!r} cannot be loaded."):
            return IcebergHook(self.iceberg_conn_id).get_conn()

    def _window_of(self, export: CdrExport) -> Window:
        if export.window is None:
            raise FlowrouteValueError(
                f"Export {export.id} cannot replace a window of a table.\n"
                f"Flowroute did not report its window.\n"
                f"Land it with CdrExportToObjectStorageOperator."
            )
        return export.window

    def _check_overwrite(self, table: Table, window: Window) -> None:
        from airflow_provider_flowroute.landing.iceberg import has_calls

        if not self.overwrite and has_calls(table, window):
            raise FlowrouteValueError(
                f"Table {self.table} has calls of the window, and overwrite is False.\n"
                f"The window is {window}. Nothing was downloaded.\n"
                f"Delete the calls, or set overwrite=True."
            )

    @contextmanager
    def _add_error_context(self, export: CdrExport) -> Iterator[None]:
        """Add the export and the table to an error, and what readers of the table see."""
        try:
            yield
        except (CdrExportIntegrityError, CdrExportFormatError) as e:
            raise type(e)(
                f"Export {export.id} was not landed.\n{e}\nTable {self.table} is unchanged."
            ) from None
        except (CdrExportLandingError, OSError) as e:
            raise CdrExportLandingError(
                f"Export {export.id} cannot be written to table {self.table}.\n{e}\n"
                f"Readers see the complete old window or the complete new one.\n"
                f"Check the catalog, its storage, and free space in {tempfile.gettempdir()}.",
                transient=getattr(e, "transient", True),
            ) from None

    _enforce_reconciliation = CdrExportToObjectStorageOperator._enforce_reconciliation
    _add_asset_event_extra = CdrExportToObjectStorageOperator._add_asset_event_extra


def _check_installed() -> None:
    check_format("parquet")
    if not importlib.util.find_spec("pyiceberg"):
        raise FlowrouteValueError(
            "Landing in an Iceberg table needs pyiceberg, which this worker does not have.\n"
            "Install the extra where tasks run: pip install 'airflow-provider-flowroute[iceberg]'."
        )
