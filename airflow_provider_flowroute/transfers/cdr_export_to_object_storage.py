"""Land the file of an export in object storage or on a local disk."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import Asset, BaseOperator, ObjectStoragePath

from airflow_provider_flowroute.cdr.export import check_export_id, pluralize
from airflow_provider_flowroute.exceptions import (
    CdrExportFormatError,
    CdrExportIntegrityError,
    CdrExportLandingError,
    CdrExportMismatchError,
    FlowrouteValueError,
)
from airflow_provider_flowroute.hooks.flowroute import FlowrouteHook
from airflow_provider_flowroute.landing import FORMATS, check_format
from airflow_provider_flowroute.landing.publish import publish_atomically
from airflow_provider_flowroute.links.object_storage import LandedFileLink, console_url
from airflow_provider_flowroute.utils.mixins import (
    FlowrouteHookMixin,
    closes_connections,
    fail_without_retry,
    is_literal,
)
from airflow_provider_flowroute.utils.openlineage import LandingLineage

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperatorLink, Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_flowroute.cdr.export import CdrExport
    from airflow_provider_flowroute.landing.reconciliation import Reconciliation

ON_MISMATCH = ("fail", "warn")
#: Airflow's registry of file systems knows only the installed providers.
_FILE_SYSTEM_PACKAGES = {
    **dict.fromkeys(("s3", "s3a", "s3n"), "apache-airflow-providers-amazon[s3fs]"),
    **dict.fromkeys(("gs", "gcs"), "apache-airflow-providers-google"),
    **dict.fromkeys(("abfs", "abfss", "adl"), "apache-airflow-providers-microsoft-azure"),
    **dict.fromkeys(("sftp", "ssh"), "apache-airflow-providers-sftp[sshfs]"),
    "hdfs": "apache-airflow-providers-apache-hdfs",
}


class CdrExportToObjectStorageOperator(FlowrouteHookMixin, BaseOperator):
    """Download a completed export, reconcile it with Flowroute's totals, and publish it atomically.

    The file is staged in a temporary place and checked there: the gzip stream is intact to its end, the number of rows
    equals ``num_calls``, the sum of ``total_cost`` equals Flowroute's at its precision, each ``start_time`` lies in
    the window, and no ``cdr_id`` is a duplicate. Only then does it replace the target, atomically: readers see the
    complete old file or the complete new file.

    If Flowroute omits a figure, its check is skipped and a warning is logged.

    Returns ``rows``, ``total_cost`` (US dollars, as text), ``billed_minutes`` (as text), ``first_start`` and
    ``last_start`` (ISO 8601, UTC), ``bytes``, ``path``, ``export_id`` and ``reconciliation`` (for each check
    ``actual``, ``expected``, ``passed`` and ``reason``). The events of the assets in ``outlets`` get
    the same values in their ``extra``.

    :param export_id: the ID of a completed export. (templated)
    :param path: the target: a local path, or a URL of ``ObjectStoragePath`` such as
        ``s3://aws_default@bucket/cdrs/2019-06-25.parquet``. (templated)
    :param file_format: ``parquet`` (typed columns), ``csv`` (inflated) or ``csv.gz`` (Flowroute's bytes, unchanged).
        Default: from the suffix of ``path``. All formats need the extra ``landing``.
    :param on_mismatch: what to do with an intact file that does not match Flowroute's figures: ``fail`` leaves the
        target unchanged, ``warn`` publishes the file and logs a warning.
    :param overwrite: replace an existing file. If False, an existing file fails the task.
    :param flowroute_conn_id: the ID of the Airflow connection. (templated)
    :raises CdrExportIntegrityError: the file is incomplete or damaged. A retry downloads it again.
    :raises CdrExportMismatchError: the file does not match Flowroute's figures.
    :raises CdrExportLandingError: the file cannot be written to its target.
    :raises AirflowFailException: a permanent error: an ID, a path or a link that cannot be used, or a file whose
        header, records or values do not have the documented format (with row and column).
    """

    template_fields: Sequence[str] = ("export_id", "path", "flowroute_conn_id")
    ui_color = "#b3d4c3"
    operator_extra_links: Collection[BaseOperatorLink] = (LandedFileLink(),)

    def __init__(
        self,
        *,
        export_id: str,
        path: str | ObjectStoragePath,
        file_format: Literal["parquet", "csv", "csv.gz"] | None = None,
        on_mismatch: Literal["fail", "warn"] = "fail",
        overwrite: bool = True,
        flowroute_conn_id: str = FlowrouteHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.export_id = export_id
        self.path = path
        self.file_format = file_format
        self.on_mismatch = on_mismatch
        self.overwrite = overwrite
        self.flowroute_conn_id = flowroute_conn_id
        self._landing: LandingLineage | None = None
        self.landed_file_url = ""
        # Permanent errors, because a mapped task is instantiated on the worker.
        with fail_without_retry():
            if on_mismatch not in ON_MISMATCH:
                raise FlowrouteValueError(f"on_mismatch is {on_mismatch!r}.\nUse 'fail' or 'warn'.")
            if file_format is not None and file_format not in FORMATS:
                raise FlowrouteValueError(
                    f"file_format is {file_format!r}.\nUse one of {', '.join(FORMATS)}."
                )
            if isinstance(path, str) and is_literal(path):
                self._check_path()

    @closes_connections
    def execute(self, context: Context) -> dict[str, Any]:
        """Download, reconcile and publish."""
        self._landing, self.landed_file_url = None, ""  # dag.test() runs all tries with one operator
        self.operator_extra_links = ()  # Airflow 3 stores an XCom for a link without a URL, too
        with fail_without_retry():
            export_id = check_export_id(self.export_id)
            path, file_format = self._target()
            export = self.client.get_cdr_export(export_id)
            export.check_completed()
            severity = "error" if self.on_mismatch == "fail" else "warn"
            self._landing = LandingLineage(export, self.client.base_url, path, file_format, severity)
            if file_format == "parquet":
                self._warn_of_another_window(export, path)
            with self._add_error_context(export), publish_atomically(path) as staged:
                self._landing.result = result = self._stage(export, staged, file_format)
                self._enforce_reconciliation(export, result)
                size = staged.stat().st_size
            self._landing.size = size
        landed = {
            **result.totals.as_json(),
            "bytes": size,
            "path": str(self.path),
            "export_id": export.id,
            "reconciliation": result.as_json(),
        }
        self.log.info(
            "Landed export %s: %s, %s billed minutes, %s USD, %s at %s.",
            export.id,
            pluralize(result.totals.rows, "call"),
            landed["billed_minutes"],
            landed["total_cost"],
            pluralize(size, "byte"),
            landed["path"],
        )
        self._add_asset_event_extra(context, landed)
        self.landed_file_url = console_url(path)
        if self.landed_file_url:
            link = LandedFileLink()
            link.persist(context, self.landed_file_url)
            self.operator_extra_links = (link,)
        return landed

    def _check_path(self) -> str:
        """Check the path as text, and return the file format."""
        text = str(self.path)
        suffix = next((name for name in FORMATS if text.endswith(f".{name}")), None)
        file_format = self.file_format or suffix
        if file_format is None or text in ("", "None") or text.endswith(("/", f"/.{suffix}")):
            raise FlowrouteValueError(
                f"path is {text!r}, which names no file of a known format.\n"
                f"Let it end in a file name with .{', .'.join(FORMATS)}, or set file_format."
            )
        if "://" not in text and not text.startswith("/"):
            raise FlowrouteValueError(
                f"path is {text!r}, which is not absolute.\nIts meaning depends on the worker that runs the task.\n"
                f"Give a path that begins with '/', or a URL such as s3://aws_default@bucket/cdrs.parquet."
            )
        return file_format

    def _target(self) -> tuple[ObjectStoragePath, str]:
        file_format = self._check_path()
        check_format(file_format)
        try:
            path = ObjectStoragePath(self.path)
            _ = path.fs
        except (ValueError, ImportError) as e:  # unknown scheme, or its library is not installed
            scheme = str(self.path).partition("://")[0]
            package = _FILE_SYSTEM_PACKAGES.get(scheme, f"the Airflow provider for {scheme}://")
            raise FlowrouteValueError(
                f"path is {str(self.path)!r}, but Airflow has no file system for it.\n{e}\nInstall {package}."
            ) from None
        if not self.overwrite and path.exists():
            raise FlowrouteValueError(
                f"{self.path} already exists, and overwrite is False.\nNothing was downloaded.\n"
                f"Remove the file, choose another path, or set overwrite=True."
            )
        return path, file_format

    def _warn_of_another_window(self, export: CdrExport, path: ObjectStoragePath) -> None:
        """Warn if the file to replace holds another window, as after a mistake in the path's template."""
        from airflow_provider_flowroute.landing.footer import read_footer

        with suppress(CdrExportLandingError):
            footer = read_footer(path)
            if footer and footer.window and export.window and footer.window != export.window:
                self.log.warning(
                    "%s holds the window %s and is replaced by the window %s.",
                    path,
                    footer.window,
                    export.window,
                )

    def _stage(self, export: CdrExport, staged: Path, file_format: str) -> Reconciliation:
        from airflow_provider_flowroute.landing.pipeline import stage

        with self.client.open_cdr_export(export) as download:
            return stage(export, download, staged, file_format)

    @contextmanager
    def _add_error_context(self, export: CdrExport) -> Iterator[None]:
        """Add the export and the path to an error, and that the target is unchanged."""
        try:
            yield
        except (CdrExportIntegrityError, CdrExportFormatError) as e:
            raise type(e)(f"Export {export.id} was not landed.\n{e}\n{self.path} is unchanged.") from None
        except (CdrExportLandingError, OSError) as e:
            raise CdrExportLandingError(
                f"Export {export.id} cannot be written to {self.path}.\n{e}\nThe target is unchanged.\n"
                f"Check free space, permissions and the bucket. Remote files are staged in {tempfile.gettempdir()}.",
                transient=getattr(e, "transient", True),
            ) from None

    def _enforce_reconciliation(self, export: CdrExport, result: Reconciliation) -> None:
        """Log the checks, and stop a file that does not match.

        :raises CdrExportMismatchError: a check failed and ``on_mismatch`` is ``fail``.
        """
        for check in result.checks:
            level = logging.WARNING if check.passed is False else logging.INFO
            self.log.log(level, "Check of export %s: %s", export.id, check)
        if result.has_unchecked:
            self.log.warning("Flowroute omitted figures of export %s: some checks were skipped.", export.id)
        if not result.mismatches:
            return
        failed = "\n".join(map(str, result.mismatches))
        if self.on_mismatch == "fail":
            raise CdrExportMismatchError(f"The file does not match Flowroute's figures.\n{failed}")
        self.log.warning(
            "Publishing export %s despite failed checks, because on_mismatch is 'warn'.", export.id
        )

    def _add_asset_event_extra(self, context: Context, landed: dict[str, Any]) -> None:
        """Add the figures to the events of the assets in ``outlets``."""
        events = context.get("outlet_events")
        if events is None:
            return
        for asset in self.outlets:
            if isinstance(asset, Asset):
                events[asset].extra.update(landed)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:
        """Return the lineage of the landing. OpenLineage also asks for it after a failed landing."""
        return self._landing.openlineage() if self._landing is not None else None
