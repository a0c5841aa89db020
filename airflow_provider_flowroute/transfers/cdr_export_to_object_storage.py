"""Land the file of an export in object storage or on a local disk."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import BaseOperator, ObjectStoragePath

from airflow_provider_flowroute.cdr.export import check_export_id, pluralize
from airflow_provider_flowroute.cdr.window import zone_of
from airflow_provider_flowroute.exceptions import CdrExportLandingError, FlowrouteValueError
from airflow_provider_flowroute.hooks.flowroute import FlowrouteHook
from airflow_provider_flowroute.landing import FORMATS, check_format
from airflow_provider_flowroute.landing.publish import DATE, in_parallel, publish, staging_folder
from airflow_provider_flowroute.links.object_storage import LandedFileLink, console_url
from airflow_provider_flowroute.transfers.base import IF_CHANGED, CdrExportTransferMixin
from airflow_provider_flowroute.utils.metrics import count_landing
from airflow_provider_flowroute.utils.mixins import closes_connections, fail_without_retry, is_literal
from airflow_provider_flowroute.utils.openlineage import LandingLineage

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperatorLink, Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_flowroute.cdr.export import CdrExport
    from airflow_provider_flowroute.landing.reconciliation import Reconciliation, Totals
    from airflow_provider_flowroute.landing.targets import Staged, Target

#: Airflow's registry of file systems knows only the installed providers.
_FILE_SYSTEM_PACKAGES = {
    **dict.fromkeys(("s3", "s3a", "s3n"), "apache-airflow-providers-amazon[s3fs]"),
    **dict.fromkeys(("gs", "gcs"), "apache-airflow-providers-google"),
    **dict.fromkeys(("abfs", "abfss", "adl"), "apache-airflow-providers-microsoft-azure"),
    **dict.fromkeys(("sftp", "ssh"), "apache-airflow-providers-sftp[sshfs]"),
    "hdfs": "apache-airflow-providers-apache-hdfs",
}


class CdrExportToObjectStorageOperator(CdrExportTransferMixin, BaseOperator):
    """Download a completed export, reconcile it with Flowroute's totals, and publish it atomically.

    The file is staged in a temporary place and checked there: the gzip stream is intact to its end, the number of rows
    equals ``num_calls``, the sum of ``total_cost`` equals Flowroute's at its precision, each ``start_time`` lies in
    the window, and no ``cdr_id`` is a duplicate. Only then does it replace the target, atomically: readers see the
    complete old file or the complete new file.

    If Flowroute omits a figure, its check is skipped and a warning is logged.

    With ``partition_by="day"`` the export becomes one file for each day of ``start_time``. It is reconciled as a whole
    before the first file is published, and each file is published atomically. A retry completes what a killed task
    left.

    Returns ``rows``, ``total_cost`` (US dollars, as text), ``billed_minutes`` (as text), ``first_start`` and
    ``last_start`` (ISO 8601, UTC), ``bytes``, ``path``, ``export_id`` and ``reconciliation`` (for each check
    ``actual``, ``expected``, ``passed`` and ``reason``); with ``partition_by`` also ``files`` and ``files_published``
    (their numbers), and with ``overwrite="if_changed"`` also ``changed`` and ``difference``. The events of the assets
    in ``outlets`` get the same values in their ``extra``.

    :param export_id: the ID of a completed export. (templated)
    :param path: the target: a local path, or a URL of ``ObjectStoragePath`` such as
        ``s3://aws_default@bucket/cdrs/2019-06-25.parquet``. With ``partition_by`` it has the placeholder ``{date}``,
        such as ``s3://aws_default@bucket/cdrs/date={date}/cdrs.parquet``. (templated)
    :param file_format: ``parquet`` (typed columns), ``csv`` (inflated) or ``csv.gz`` (Flowroute's bytes, unchanged).
        Default: from the suffix of ``path``. All formats need the extra ``landing``.
    :param on_mismatch: what to do with an intact file that does not match Flowroute's figures: ``fail`` leaves the
        target unchanged, ``warn`` publishes the file and logs a warning.
    :param overwrite: replace an existing file. If False, an existing file fails the task. ``if_changed`` downloads
        nothing if the landed Parquet files have the figures of the export, and otherwise replaces only files whose
        rows differ.
    :param partition_by: ``day`` for one Parquet file for each day; None for one file. The window of the export has to
        begin and end at midnight.
    :param timezone: the time zone of the days, such as ``America/New_York``. (templated)
    :param flowroute_conn_id: the ID of the Airflow connection. (templated)
    :raises CdrExportIntegrityError: the file is incomplete or damaged. A retry downloads it again.
    :raises CdrExportMismatchError: the file does not match Flowroute's figures.
    :raises CdrExportLandingError: the file cannot be written to its target.
    :raises AirflowFailException: a permanent error: an ID, a path or a link that cannot be used, or a file whose
        header, records or values do not have the documented format (with row and column).
    """

    template_fields: Sequence[str] = ("export_id", "path", "timezone", "flowroute_conn_id")
    ui_color = "#b3d4c3"
    operator_extra_links: Collection[BaseOperatorLink] = (LandedFileLink(),)

    def __init__(
        self,
        *,
        export_id: str,
        path: str | ObjectStoragePath,
        file_format: Literal["parquet", "csv", "csv.gz"] | None = None,
        on_mismatch: Literal["fail", "warn"] = "fail",
        overwrite: bool | Literal["if_changed"] = True,
        partition_by: Literal["day"] | None = None,
        timezone: str = "UTC",
        flowroute_conn_id: str = FlowrouteHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.export_id = export_id
        self.path = path
        self.file_format = file_format
        self.on_mismatch = on_mismatch
        self.overwrite = overwrite
        self.partition_by = partition_by
        self.timezone = timezone
        self.flowroute_conn_id = flowroute_conn_id
        self._landing: LandingLineage | None = None
        self.landed_file_url = ""
        #: The window of the export, for ``map_index_template="{{ task.window }}"``.
        self.window = ""
        # Permanent errors, because a mapped task is instantiated on the worker.
        with fail_without_retry():
            self._check_options()
            if file_format is not None and file_format not in FORMATS:
                raise FlowrouteValueError(
                    f"file_format is {file_format!r}.\nUse one of {', '.join(FORMATS)}."
                )
            if partition_by not in (None, "day"):
                raise FlowrouteValueError(f"partition_by is {partition_by!r}.\nUse 'day' or None.")
            if is_literal(timezone):
                self._check_timezone()
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
            self._check_timezone()
            export = self.client.get_cdr_export(export_id)
            export.check_completed()
            self.window = str(export.window or "")
            targets = self._targets(export, path)
            severity = "error" if self.on_mismatch == "fail" else "warn"
            self._landing = LandingLineage(export, self.client.base_url, path, file_format, severity)
            with self._add_error_context(
                export,
                str(self.path),
                lambda: self._state,
                "Check free space, permissions and the bucket. "
                f"Remote files are staged in {tempfile.gettempdir()}.",
            ):
                landed = self._land(export, path, file_format, targets)
        self._add_asset_event_extra(context, landed)
        self.landed_file_url = console_url(path)
        if self.landed_file_url:
            link = LandedFileLink()
            link.persist(context, self.landed_file_url)
            self.operator_extra_links = (link,)
        return landed

    def _land(
        self, export: CdrExport, path: ObjectStoragePath, file_format: str, targets: Sequence[Target]
    ) -> dict[str, Any]:
        """Land the export unless it is landed already, and return the figures."""
        from airflow_provider_flowroute.landing.targets import landed_totals, select_changed

        assert self._landing is not None
        self._state = "The target is unchanged."
        if file_format == "parquet" and self.overwrite:
            self._read_footers(targets)
        if self.overwrite == IF_CHANGED:
            totals = landed_totals(targets)
            if self._is_unchanged(export, totals, str(self.path)) and totals is not None:
                return self._unchanged(export, targets, totals)
        with staging_folder(path) as folder:
            self._landing.result, files = self._stage(export, folder, targets, file_format)
            self._enforce_reconciliation(export, self._landing.result)
            difference, changed = select_changed(files) if self.overwrite == IF_CHANGED else (None, files)
            self._log_difference(export, difference)
            sizes = {file.path: file.path.stat().st_size for file in files}
            done = in_parallel(path, lambda file: publish(file.path, file.target.path), changed)
            for published, _ in enumerate(done, 1):
                self._state = (
                    f"{published} of {len(changed)} files are published. Each file is complete, old or new; "
                    f"a retry publishes the others."
                )
        self._landing.size = sum(sizes.values())
        if changed:
            size = sum(sizes[file.path] for file in changed)
            count_landing([file.totals for file in changed], size, self.metric_tags)
        landed = self._figures(export, self._landing.result, self._landing.size, len(files), len(changed))
        self.log.info(
            "Landed export %s: %s, %s billed minutes, %s USD, %s in %s at %s.",
            export.id,
            pluralize(landed["rows"], "call"),
            landed["billed_minutes"],
            landed["total_cost"],
            pluralize(landed["bytes"], "byte"),
            pluralize(len(files), "file")
            + (f" ({len(changed)} published)" if self.overwrite == IF_CHANGED else ""),
            landed["path"],
        )
        if self.overwrite == IF_CHANGED:
            landed |= {
                "changed": bool(changed),
                "difference": difference.as_json() if difference is not None else None,
            }
        return landed

    def _figures(
        self, export: CdrExport, result: Reconciliation, size: int, files: int, published: int
    ) -> dict[str, Any]:
        return {
            **result.totals.as_json(),
            "bytes": size,
            "path": str(self.path),
            **({"files": files, "files_published": published} if self.partition_by else {}),
            "export_id": export.id,
            "reconciliation": result.as_json(),
        }

    def _unchanged(self, export: CdrExport, targets: Sequence[Target], totals: Totals) -> dict[str, Any]:
        """Return the figures of files that are landed already."""
        from airflow_provider_flowroute.landing.reconciliation import Reconciliation

        footers = [target.footer for target in targets if target.footer is not None]
        result = Reconciliation(export, totals, footers[0].columns)
        size = sum(footer.size for footer in footers)
        return {
            **self._figures(export, result, size, len(targets), 0),
            "changed": False,
            "difference": None,
        }

    def _check_timezone(self) -> None:
        """Check the time zone.

        :raises FlowrouteValueError: there is no such zone, or nothing uses it.
        """
        zone_of(self.timezone)
        if self.partition_by is None and self.timezone != "UTC":
            raise FlowrouteValueError(
                f"timezone is {self.timezone!r}, but partition_by is not set.\n"
                f"The time zone selects the day of a row; a single file has no days.\n"
                f"Set partition_by='day', or remove timezone."
            )

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
        self._check_layout(text, file_format)
        return file_format

    def _check_layout(self, path: str, file_format: str) -> None:
        """Check that path, format and options go together."""
        if self.partition_by and DATE not in path:
            raise FlowrouteValueError(
                f"path is {path!r}, without the placeholder {DATE}.\n"
                f"With partition_by, each day has a file of its own.\n"
                f"Give a path such as /lake/date={DATE}/cdrs.parquet. In an f-string, write {{{DATE}}}."
            )
        if DATE in path and not self.partition_by:
            raise FlowrouteValueError(
                f"path is {path!r}, but partition_by is not set.\n"
                f"Only day files have a {DATE}.\nSet partition_by='day', or remove the placeholder."
            )
        for option in ("partition_by", "overwrite"):
            if getattr(self, option) in ("day", IF_CHANGED) and file_format != "parquet":
                raise FlowrouteValueError(
                    f"{option} is {getattr(self, option)!r}, and file_format is {file_format!r}.\n"
                    f"It needs the footer of a Parquet file.\nUse Parquet, or another {option}."
                )

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
        return path, file_format

    def _targets(self, export: CdrExport, path: ObjectStoragePath) -> list[Target]:
        from airflow_provider_flowroute.landing.targets import existing, targets_of

        targets = targets_of(export, path, self.timezone if self.partition_by else None)
        if not self.overwrite and (there := existing(targets)):
            others = f"So do {len(there) - 1} more files of {self.path}.\n" if len(there) > 1 else ""
            raise FlowrouteValueError(
                f"{there[0]} already exists, and overwrite is False.\nNothing was downloaded.\n{others}"
                f"Remove the file, choose another path, or set overwrite=True."
            )
        return targets

    def _read_footers(self, targets: Sequence[Target]) -> None:
        """Read the files to replace, and warn if they hold another window, as after a mistake in the path."""
        from airflow_provider_flowroute.landing.targets import read_footers

        # Without if_changed this is only for the warning.
        with suppress(*(() if self.overwrite == IF_CHANGED else (CdrExportLandingError,))):
            read_footers(targets)
        for target in targets:
            landed = target.footer and target.footer.window
            if landed and target.window and landed != target.window:
                self.log.warning(
                    "%s holds the window %s and is replaced by the window %s.",
                    target.path,
                    landed,
                    target.window,
                )

    def _stage(
        self, export: CdrExport, folder: Path, targets: Sequence[Target], file_format: str
    ) -> tuple[Reconciliation, list[Staged]]:
        from airflow_provider_flowroute.landing.partitions import days_of, stage_days
        from airflow_provider_flowroute.landing.pipeline import stage
        from airflow_provider_flowroute.landing.targets import Staged

        with self.client.open_cdr_export(export) as download:
            if self.partition_by:
                result, days = stage_days(export, download, folder, days_of(export, self.timezone))
                files = [
                    Staged(target, day.path, day.totals) for target, day in zip(targets, days, strict=True)
                ]
                return result, files
            result = stage(export, download, folder / "staged.part", file_format)
            return result, [Staged(targets[0], folder / "staged.part", result.totals)]

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:
        """Return the lineage of the landing. OpenLineage also reads it after a failed landing."""
        return self._landing.openlineage() if self._landing is not None else None
