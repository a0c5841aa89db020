"""Stage an export as one Parquet file for each day of ``start_time`` in a time zone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from airflow_provider_flowroute.api.download import ResumableDownload
from airflow_provider_flowroute.cdr.export import CdrExport
from airflow_provider_flowroute.cdr.window import Window
from airflow_provider_flowroute.exceptions import FlowrouteValueError
from airflow_provider_flowroute.landing import arrow
from airflow_provider_flowroute.landing.arrow import CdrParquetWriter, totals_of
from airflow_provider_flowroute.landing.csv_stream import Header
from airflow_provider_flowroute.landing.pipeline import Part, stage_parquet
from airflow_provider_flowroute.landing.publish import PROGRESS_INTERVAL
from airflow_provider_flowroute.landing.reconciliation import Reconciliation, Totals

#: Bytes of rows that wait for a larger row group. When they are more, the day with most of them is written.
BUFFERED_BYTES = 64 << 20


@dataclass(frozen=True)
class DayFile:
    """The staged file of one day.

    :param day: the day in the time zone of the partitions.
    :param window: from the day's first instant to that of the next day, in UTC: 23 to 25 hours.
    :param path: the local file.
    :param totals: the totals of the file.
    """

    day: date
    window: Window
    path: Path
    totals: Totals


def zone_of(timezone: str) -> ZoneInfo:
    """Return a time zone.

    :param timezone: its name in the tz database.
    :raises FlowrouteValueError: there is no such zone.
    """
    try:
        return ZoneInfo(timezone)
    except (KeyError, ValueError, TypeError, OSError):  # an unknown name, a path, None, a folder of zones
        raise FlowrouteValueError(
            f"timezone is {timezone!r}.\nThis is no time zone of the tz database.\n"
            f"Use a name such as 'UTC' or 'America/New_York'."
        ) from None


def days_of(export: CdrExport, timezone: str) -> Mapping[date, Window]:
    """Return the days of an export's window, oldest first, each with its own window.

    :param export: an export.
    :param timezone: the time zone of the days, such as ``America/New_York``.
    :raises FlowrouteValueError: the window is unknown, or does not begin and end at midnight: the file of a part of a
        day would replace the file of the complete day.
    """
    window, zone = export.window, zone_of(timezone)
    if window is None:
        raise FlowrouteValueError(
            f"Export {export.id} cannot be landed as one file for each day.\n"
            f"Flowroute did not report its window.\nLand it without partition_by."
        )
    day = window.start.astimezone(zone).date()
    days = {}
    while (start := _midnight(day, zone)) < window.end:
        end = _midnight(day + timedelta(days=1), zone)
        if start < end:  # Samoa left out a day when it changed sides of the date line
            days[day] = Window(start, end)
        day += timedelta(days=1)
    first, last = next(iter(days.values())), next(reversed(days.values()))
    if (first.start, last.end) != (window.start, window.end):
        raise FlowrouteValueError(
            f"Export {export.id} does not hold complete days in {timezone}.\n"
            f"Its window is {window}. The file of an incomplete day would replace a complete one.\n"
            f"Create an export from {first.start.astimezone(zone).isoformat()} to "
            f"{last.end.astimezone(zone).isoformat()}, or set another timezone."
        )
    return days


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    """Return the first instant of a day. Where a clock change skips midnight, that is a later time of day."""
    return datetime.combine(day, time.min, zone).astimezone(UTC)


def stage_days(
    export: CdrExport,
    download: ResumableDownload,
    directory: Path,
    timezone: str,
    *,
    progress_interval: float = PROGRESS_INTERVAL,
) -> tuple[Reconciliation, list[DayFile]]:
    """Write an export's rows to one local Parquet file for each day, and reconcile them with the export as a whole.

    The rows can be in any order. Each day of the window has a file, also a day without calls.

    :param export: the export as Flowroute describes it.
    :param download: its file, from :meth:`FlowrouteClient.open_cdr_export`.
    :param directory: an empty folder. Do not publish its files before the result is known to be good.
    :param timezone: the time zone of the days.
    :param progress_interval: seconds between two lines about the progress in the log.
    :return: the reconciliation, and the files in the order of their days. Rows that belong to no day are in no file:
        see :attr:`Reconciliation.unassigned`.
    :raises FlowrouteValueError: the export does not hold complete days.
    :raises CdrExportIntegrityError: the gzip stream is incomplete or damaged.
    :raises CdrExportFormatError: the header, a record or a value does not have the documented format.
    """
    days = days_of(export, timezone)
    partitions: list[DayPartitions] = []

    def open_partitions(header: Header) -> DayPartitions:
        partitions.append(DayPartitions(header, directory, days))
        return partitions[0]

    result = stage_parquet(export, download, open_partitions, progress_interval=progress_interval)
    return result, partitions[0].files()


@dataclass
class _Day:
    """The rows of a day: those that are written, and those that wait for a row group."""

    part: Part
    waiting: list[pa.Table] = field(default_factory=list)
    rows: int = 0
    bytes: int = 0


class DayPartitions:
    """Divide tables among the files of their days.

    Rows wait in memory until their day has enough of them for a row group, or until the rows of all days take more
    than :data:`BUFFERED_BYTES`. A file in the order of its times therefore has large row groups, and memory is
    constant.

    :param header: of the export's file.
    :param directory: receives the files.
    :param days: each day and its window, without gaps.
    """

    def __init__(self, header: Header, directory: Path, days: Mapping[date, Window]) -> None:
        self._header = header
        self._dates = list(days)
        windows = list(days.values())
        empty = totals_of(pa.Table.from_batches([], arrow.schema_of(header.columns)), header)
        self._days = [
            _Day(
                Part(
                    CdrParquetWriter(directory / f"{day.isoformat()}.parquet", header.columns), window, empty
                )
            )
            for day, window in days.items()
        ]
        instants = [*(window.start for window in windows), windows[-1].end]
        self._bounds = np.array([round(instant.timestamp() * 1e6) for instant in instants], np.int64)
        self._bytes = 0

    def write(self, table: pa.Table) -> None:
        """Add rows. Rows of no day are left out."""
        for number, rows in self._divide(table):
            day = self._days[number]
            day.waiting.append(rows)
            day.rows += rows.num_rows
            day.bytes += (size := rows.nbytes)
            self._bytes += size
            if day.rows >= arrow.ROW_GROUP_ROWS:
                self._flush(day)
        while self._bytes > BUFFERED_BYTES:
            self._flush(max(self._days, key=lambda day: day.bytes))

    def finish(self) -> Sequence[Part]:
        """Write all rows that wait, and return the files, which are still open."""
        for day in self._days:
            self._flush(day)
        return [day.part for day in self._days]

    def discard(self) -> None:
        """Close incomplete files."""
        for day in self._days:
            day.part.writer.discard()

    def files(self) -> list[DayFile]:
        """Return the files in the order of their days."""
        return [
            DayFile(day, part.window, part.writer.path, part.totals)
            for day, part in zip(self._dates, (day.part for day in self._days), strict=True)
            if part.window and part.totals
        ]

    def _divide(self, table: pa.Table) -> Iterator[tuple[int, pa.Table]]:
        starts = table.column("start_time").cast(pa.int64()).fill_null(self._bounds[0] - 1).to_numpy()
        numbers = np.searchsorted(self._bounds, starts, "right") - 1
        order = np.argsort(numbers, kind="stable")
        found, firsts = np.unique(numbers[order], return_index=True)
        for number, indices in zip(found.tolist(), np.split(order, firsts[1:]), strict=True):
            if 0 <= number < len(self._days):
                # A copy, because a slice would keep all rows of the table in memory.
                yield number, table if len(indices) == len(order) else table.take(indices)

    def _flush(self, day: _Day) -> None:
        if day.waiting:
            rows = pa.concat_tables(day.waiting)
            self._bytes -= day.bytes
            day.waiting, day.rows, day.bytes = [], 0, 0
            day.part.write(rows, self._header)
