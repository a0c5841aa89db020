"""Land an export in an Apache Iceberg table."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import BaseOperator, ObjectStoragePath

from airflow_provider_flowroute.cdr.export import check_export_id, pluralize
from airflow_provider_flowroute.exceptions import FlowrouteValueError
from airflow_provider_flowroute.hooks.flowroute import FlowrouteHook
from airflow_provider_flowroute.transfers.base import IF_CHANGED, CdrExportTransferMixin
from airflow_provider_flowroute.utils.iceberg import check_one_catalog, check_table_name, load_catalog
from airflow_provider_flowroute.utils.metrics import count_landing
from airflow_provider_flowroute.utils.mixins import closes_connections, fail_without_retry, is_literal
from airflow_provider_flowroute.utils.openlineage import LandingLineage

if TYPE_CHECKING:
    import pyarrow as pa
    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage
    from pyiceberg.table import Table

    from airflow_provider_flowroute.cdr.export import CdrExport
    from airflow_provider_flowroute.cdr.window import Window
    from airflow_provider_flowroute.landing.difference import Difference
    from airflow_provider_flowroute.landing.iceberg import LandedWindow
    from airflow_provider_flowroute.landing.reconciliation import Reconciliation


class CdrExportToIcebergOperator(CdrExportTransferMixin, BaseOperator):
    """Download a completed export, reconcile it, and replace its window in an Iceberg table with one commit.

    The calls are staged and checked as by ``CdrExportToObjectStorageOperator``, and uploaded as one Parquet file for
    each UTC day. Then one commit deletes the calls of the export's window, and only those, and adds the files: readers
    see the complete old window or the complete new one. A missing table is created with the documented types and a
    partition for each UTC day. A new column in the file is added to the table.

    Returns ``rows``, ``total_cost`` (US dollars, as text), ``billed_minutes`` (as text), ``first_start`` and
    ``last_start`` (ISO 8601, UTC), ``table``, ``snapshot_id`` (as text), ``files`` (their number), ``bytes``,
    ``export_id`` and ``reconciliation``, as ``CdrExportToObjectStorageOperator`` does; with ``overwrite="if_changed"``
    also ``changed`` and ``difference``. The events of the assets in ``outlets`` get the same values in their ``extra``.

    :param export_id: the ID of a completed export. (templated)
    :param table: the table as ``namespace.name``. (templated)
    :param catalog: the name of a catalog in pyiceberg's configuration. Default: the default catalog there.
        (templated)
    :param iceberg_conn_id: the ID of an Airflow connection of type ``iceberg``, instead of ``catalog``. (templated)
    :param on_mismatch: what to do with an intact file that does not match Flowroute's figures: ``fail`` leaves the
        table unchanged, ``warn`` lands the calls and logs a warning. Calls outside the window always fail the task.
    :param overwrite: replace the calls that the table has in the window. If False, such calls fail the task.
        ``if_changed`` downloads nothing if the table's snapshots say that the window has the figures of the export.
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
        overwrite: bool | Literal["if_changed"] = True,
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
        self._landing: LandingLineage | None = None
        # Permanent errors, because a mapped task is instantiated on the worker.
        with fail_without_retry():
            self._check_options()
            check_one_catalog(catalog, iceberg_conn_id)
            if isinstance(table, str) and is_literal(table):
                check_table_name(table)

    @closes_connections
    def execute(self, context: Context) -> dict[str, Any]:
        """Download, reconcile and commit."""
        self._landing = None  # dag.test() runs all tries with one operator
        with fail_without_retry():
            export_id = check_export_id(self.export_id)
            check_table_name(self.table)
            export = self.client.get_cdr_export(export_id)
            export.check_completed()
            state = "Readers see the complete old window or the complete new one."
            hint = f"Check the catalog, its storage, and free space in {tempfile.gettempdir()}."
            with self._add_error_context(export, self.table, lambda: state, hint):
                landed = self._land(export)
        self._add_asset_event_extra(context, landed)
        return landed

    def _land(self, export: CdrExport) -> dict[str, Any]:
        """Land the export unless it is landed already, and return the figures."""
        catalog = load_catalog(self.catalog, self.iceberg_conn_id)  # checks that pyiceberg is installed
        from airflow_provider_flowroute.landing import iceberg

        window = self._window_of(export)
        table = iceberg.load_or_create_table(catalog, self.table)
        iceberg.check_table(table)
        severity = "error" if self.on_mismatch == "fail" else "warn"
        path = ObjectStoragePath(table.location())
        self._landing = LandingLineage(export, self.client.base_url, path, "parquet", severity)
        if not self.overwrite and iceberg.has_calls(table, window):
            raise FlowrouteValueError(
                f"Table {self.table} has calls of the window, and overwrite is False.\n"
                f"The window is {window}. Nothing was downloaded.\n"
                f"Delete the calls, or set overwrite=True."
            )
        if self.overwrite != IF_CHANGED:
            return self._replace(export, table, window, None)
        old = iceberg.landed_window(table, window)
        if self._is_unchanged(export, old.footer.totals if old else None, self.table):
            assert old is not None
            return self._unchanged(export, old)
        return self._replace(export, table, window, old)

    def _replace(
        self, export: CdrExport, table: Table, window: Window, old: LandedWindow | None
    ) -> dict[str, Any]:
        """Land the export, unless its calls are those of the landed window.

        :param old: the landed window to compare with.
        """
        from airflow_provider_flowroute.landing import iceberg
        from airflow_provider_flowroute.landing.csv_stream import Header
        from airflow_provider_flowroute.landing.footer import footer_metadata
        from airflow_provider_flowroute.landing.partitions import stage_days

        assert self._landing is not None
        with tempfile.TemporaryDirectory(prefix="flowroute-") as directory:
            with self.client.open_cdr_export(export) as download:
                result, days = stage_days(export, download, Path(directory), iceberg.utc_days_of(window))
            self._landing.result = result
            self._enforce_reconciliation(export, result)
            columns = Header(result.columns).columns
            iceberg.check_table(table, columns)
            files = [day.path for day in days if day.totals.rows]
            difference = _difference(old, files, result) if old else None
            self._log_difference(export, difference)
            if old and not difference:
                return self._unchanged(export, old)
            properties = footer_metadata(export, result)
            snapshot = iceberg.replace_window(table, window, files, columns, properties)
            self._landing.size = sum(path.stat().st_size for path in files)
            count_landing([result.totals], self._landing.size, self.metric_tags)
        landed = {
            **result.totals.as_json(),
            "table": self.table,
            "snapshot_id": str(snapshot.snapshot_id),
            "files": len(files),
            "bytes": self._landing.size,
            "export_id": export.id,
            "reconciliation": result.as_json(),
        }
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
        if self.overwrite == IF_CHANGED:
            landed |= {"changed": True, "difference": difference.as_json() if difference else None}
        return landed

    def _unchanged(self, export: CdrExport, old: LandedWindow) -> dict[str, Any]:
        """Return the figures of a window that is landed already."""
        return {
            **old.footer.totals.as_json(),
            "table": self.table,
            "snapshot_id": str(old.snapshot_id),
            "files": len(old.files),
            "bytes": old.size,
            "export_id": export.id,
            "reconciliation": old.footer.checks,
            "changed": False,
            "difference": None,
        }

    def _window_of(self, export: CdrExport) -> Window:
        if export.window is None:
            raise FlowrouteValueError(
                f"Export {export.id} cannot replace a window of a table.\n"
                f"Flowroute did not report its window.\n"
                f"Land it with CdrExportToObjectStorageOperator."
            )
        return export.window

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:
        """Return the lineage of the landing. OpenLineage also reads it after a failed landing."""
        return self._landing.openlineage() if self._landing is not None else None


def _difference(old: LandedWindow, files: Iterable[Path], result: Reconciliation) -> Difference:
    from airflow_provider_flowroute.landing.arrow import read_parquet
    from airflow_provider_flowroute.landing.difference import compare

    def new(columns: Sequence[str] | None) -> Iterator[pa.Table]:
        for path in files:
            yield from read_parquet(path, columns)

    return compare(old.read, new, old.footer.totals, result.totals)
