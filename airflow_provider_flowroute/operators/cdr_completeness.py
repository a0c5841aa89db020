"""Check that the landed files of a period are complete."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from airflow.providers.common.compat.sdk import BaseOperator, ObjectStoragePath

from airflow_provider_flowroute.cdr.export import check_export_id, pluralize
from airflow_provider_flowroute.cdr.window import Window, parse_instant, zone_of
from airflow_provider_flowroute.exceptions import CdrCompletenessError, FlowrouteValueError
from airflow_provider_flowroute.hooks.flowroute import FlowrouteHook
from airflow_provider_flowroute.landing import check_format
from airflow_provider_flowroute.utils.iceberg import check_one_catalog, check_table_name, load_catalog
from airflow_provider_flowroute.utils.mixins import (
    FlowrouteHookMixin,
    closes_connections,
    fail_without_retry,
    is_literal,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_flowroute.cdr.export import CdrExport
    from airflow_provider_flowroute.landing.completeness import Completeness, Landed


class CdrCompletenessCheckOperator(FlowrouteHookMixin, BaseOperator):
    """Check that landed Parquet files, or a table, hold every call of a period exactly once.

    The operator reads only the footers of the files. Their windows must cover the period without a gap and without an
    overlap, and no file may have a failed check. With ``export_id``, an export of the same period, the calls, the
    cost, the minutes and each fee of the files must also add up to Flowroute's totals. The export's file is not
    downloaded.

    Returns ``start``, ``end``, ``timezone``, ``days`` and ``total`` (each with ``rows``, ``total_cost``,
    ``billed_minutes`` and ``fees``; amounts are text) and ``export_id``.

    :param path: the landed files: a path or a URL of ``ObjectStoragePath`` with ``{date}``, which stands for each day
        of the period, or a glob such as ``s3://aws_default@bucket/cdrs/*/cdrs.parquet``. (templated)
    :param iceberg_table: an Iceberg table as ``namespace.name``, instead of ``path``. The properties of its snapshots
        are read, not its rows. (templated)
    :param catalog: the name of the table's catalog in pyiceberg's configuration. Default: the default catalog there.
        (templated)
    :param iceberg_conn_id: the ID of an Airflow connection of type ``iceberg``, instead of ``catalog``. (templated)
    :param start: the start of the period: a datetime, a date or ISO 8601 text; naive means ``timezone``. (templated)
    :param end: the end of the period, which does not belong to it, in the same formats. (templated)
    :param timezone: the time zone of the days, such as ``America/New_York``. (templated)
    :param export_id: the ID of a completed export of the period, with the filters of the landed exports. (templated)
    :param report_path: write an HTML report of the files to this path, also if the check fails. (templated)
    :param flowroute_conn_id: the ID of the Airflow connection, for ``export_id``. (templated)
    :raises AirflowFailException: the period is not complete, with at most 20 days by name; or an argument is invalid.
    :raises CdrExportLandingError: a file cannot be read.
    """

    template_fields: Sequence[str] = (
        "path",
        "iceberg_table",
        "catalog",
        "iceberg_conn_id",
        "start",
        "end",
        "timezone",
        "export_id",
        "report_path",
        "flowroute_conn_id",
    )
    ui_color = "#e4d8ee"

    def __init__(
        self,
        *,
        path: str | ObjectStoragePath | None = None,
        iceberg_table: str | None = None,
        catalog: str | None = None,
        iceberg_conn_id: str | None = None,
        start: datetime | date | str,
        end: datetime | date | str,
        timezone: str = "UTC",
        export_id: str | None = None,
        report_path: str | ObjectStoragePath | None = None,
        flowroute_conn_id: str = FlowrouteHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.path = path
        self.iceberg_table = iceberg_table
        self.catalog = catalog
        self.iceberg_conn_id = iceberg_conn_id
        self.start = start
        self.end = end
        self.timezone = timezone
        self.export_id = export_id
        self.report_path = report_path
        self.flowroute_conn_id = flowroute_conn_id
        # Permanent errors, because a mapped task is instantiated on the worker.
        with fail_without_retry():
            self._check_literals()

    @closes_connections
    def execute(self, context: Context) -> dict[str, Any]:
        """Read the footers, compare them with the period and with the export, and write the report."""
        from airflow_provider_flowroute.landing.completeness import Completeness

        with fail_without_retry():
            check_format("parquet")
            zone = zone_of(self.timezone)
            period = _period(self.start, self.end, zone)
            export = self._export(period)
            result = Completeness(*self._read(period, zone))
            if export is not None:
                result.compare(export)
            self._log_totals(result)
            if self.report_path is not None:
                self._write_report(result)
            if problems := result.problems():
                text = "\n".join(problems)
                raise CdrCompletenessError(
                    f"The calls of {period} are not complete.\n{text}\n"
                    f"Clear the tasks that land these days, then clear this task."
                )
            return {**result.as_json(), "export_id": self.export_id}

    def _check_literals(self) -> None:
        """Check what has no template, so that a mistake breaks the DAG import and not a DAG run."""
        check_one_catalog(self.catalog, self.iceberg_conn_id)
        if (self.path is None) == (self.iceberg_table is None):
            raise FlowrouteValueError(
                "One of path and iceberg_table is required.\nThe calls of a period are in files or in a table.\n"
                "Set one of them."
            )
        if self.report_path is not None and self.path is None:
            raise FlowrouteValueError(
                "report_path is set for a table.\nThe report is made from landed files.\n"
                "Set path, or remove report_path."
            )
        if self.iceberg_table is not None and is_literal(self.iceberg_table):
            check_table_name(self.iceberg_table)
        if isinstance(self.path, str) and is_literal(self.path):
            _check_file("path", self.path)
        if isinstance(self.report_path, str) and is_literal(self.report_path):
            _check_file("report_path", self.report_path)
        if is_literal(self.timezone):
            zone = zone_of(self.timezone)
            if is_literal([self.start, self.end]):
                _period(self.start, self.end, zone)
        if self.export_id is not None and is_literal(self.export_id):
            check_export_id(self.export_id)

    def _read(self, period: Window, zone: ZoneInfo) -> tuple[list[Landed], Window, ZoneInfo, int | None]:
        """Return what was landed, with the other arguments of :class:`.Completeness`."""
        from airflow_provider_flowroute.landing.completeness import read_landed, read_table

        if self.iceberg_table is None:
            return read_landed(self._files(period, zone)), period, zone, None
        check_table_name(self.iceberg_table)
        catalog = load_catalog(self.catalog, self.iceberg_conn_id)
        landed, rows = read_table(catalog, self.iceberg_table, period)
        return landed, period, zone, rows

    def _files(self, period: Window, zone: ZoneInfo) -> list[ObjectStoragePath]:
        from airflow_provider_flowroute.landing.completeness import find_files

        _check_file("path", str(self.path))
        assert self.path is not None
        try:
            return find_files(ObjectStoragePath(self.path), period, zone)
        except (ValueError, ImportError) as e:  # unknown scheme, or its library is not installed
            raise FlowrouteValueError(
                f"path is {str(self.path)!r}, but Airflow cannot read it.\n{e}\n"
                f"Install the Airflow provider of its scheme, or correct the path."
            ) from None

    def _export(self, period: Window) -> CdrExport | None:
        if self.export_id is None:
            return None
        export = self.client.get_cdr_export(check_export_id(self.export_id))
        export.check_completed()
        if export.window != period:
            raise FlowrouteValueError(
                f"Export {export.id} is not an export of the period.\n"
                f"It selects the calls of {export.window}, and the period is {period}.\n"
                f"Create the export with the start and the end of the period."
            )
        return export

    def _write_report(self, result: Completeness) -> None:
        from airflow_provider_flowroute.report import write_report

        _check_file("report_path", str(self.report_path))
        write_report(
            [part.name for part in result.landed],
            str(self.report_path),
            result.period.start.astimezone(result.zone),
            result.period.end.astimezone(result.zone),
            result.zone.key,
        )
        self.log.info("Wrote the report to %s.", self.report_path)

    def _log_totals(self, result: Completeness) -> None:
        totals = result.totals
        self.log.info(
            "%s of %s: %s, %s billed minutes, %s USD.",
            pluralize(len(result.landed), "landed file"),
            result.period,
            pluralize(totals.rows, "call"),
            totals.billed_minutes,
            totals.total_cost,
        )


def _period(start: object, end: object, zone: ZoneInfo) -> Window:
    """Return the period. A time without an offset is in the time zone of the days."""
    return Window(_instant(start, "start", zone), _instant(end, "end", zone))


def _instant(value: object, name: str, zone: ZoneInfo) -> datetime:
    if isinstance(value, str):
        with suppress(ValueError):
            value = datetime.fromisoformat(value.strip())
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time.min)
    if isinstance(value, datetime) and value.tzinfo is None:
        value = value.replace(tzinfo=zone)
    return parse_instant(value, name)


def _check_file(name: str, path: str) -> None:
    if "://" not in path and not path.startswith("/"):
        raise FlowrouteValueError(
            f"{name} is {path!r}, which is not absolute.\nIts meaning depends on the worker that runs the task.\n"
            f"Give a path that begins with '/', or a URL such as s3://aws_default@bucket/cdrs/{{date}}.parquet."
        )
