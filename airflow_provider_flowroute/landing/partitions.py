"""Stage an export as one Parquet file for each day of ``start_time`` in a time zone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from airflow_provider_flowroute.api.download import ResumableDownload
from airflow_provider_flowroute.cdr.export import CdrExport
from airflow_provider_flowroute.cdr.window import Window, zone_of
from airflow_provider_flowroute.exceptions import FlowrouteValueError
from airflow_provider_flowroute.landing.arrow import (
    CdrParquetWriter,
    read_parquet,
    rebatch,
    rewrite_footer,
    schema_of,
    totals_of,
)
from airflow_provider_flowroute.landing.csv_stream import Header
from airflow_provider_flowroute.landing.pipeline import FooterOf, stage_parquet
from airflow_provider_flowroute.landing.publish import PROGRESS_INTERVAL
from airflow_provider_flowroute.landing.reconciliation import Reconciliation, Totals

#: Files that are written at the same time.
_WRITERS = 2


@dataclass(frozen=True)
class DayFile:
    """The staged file of one day.

    :param day: the day in the time zone of the partitions.
    :param window: of the file: the day, or a part of it if the export's window begins or ends within the day.
    :param path: the local file.
    :param totals: the totals of the file.
    """

    day: date
    window: Window
    path: Path
    totals: Totals


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
    days = dict(window.days(zone))
    first, last = next(iter(days.values())), next(reversed(days.values()))
    if (first.start, last.end) != (window.start, window.end):
        raise FlowrouteValueError(
            f"Export {export.id} does not hold complete days in {timezone}.\n"
            f"Its window is {window}. The file of an incomplete day would replace a complete one.\n"
            f"Create an export from {first.start.astimezone(zone).isoformat()} to "
            f"{last.end.astimezone(zone).isoformat()}, or set another timezone."
        )
    return days


def stage_days(
    export: CdrExport,
    download: ResumableDownload,
    directory: Path,
    days: Mapping[date, Window],
    *,
    progress_interval: float = PROGRESS_INTERVAL,
) -> tuple[Reconciliation, list[DayFile]]:
    """Write an export's rows to one local Parquet file for each day, and reconcile them with the export as a whole.

    The rows can be in any order. Each day has a file, also a day without calls.

    :param export: the export as Flowroute describes it.
    :param download: its file, from :meth:`FlowrouteClient.open_cdr_export`.
    :param directory: an empty folder. Do not publish its files before the result is known to be good.
    :param days: each day and its window, without gaps; see :func:`days_of`.
    :param progress_interval: seconds between two lines about the progress in the log.
    :return: the reconciliation, and the files in the order of their days. Rows that belong to no day are in no file:
        see :attr:`Reconciliation.unassigned`.
    :raises CdrExportIntegrityError: the gzip stream is incomplete or damaged.
    :raises CdrExportFormatError: the header, a record or a value does not have the documented format.
    """
    partitions: list[DayPartitions] = []

    def open_partitions(header: Header) -> DayPartitions:
        partitions.append(DayPartitions(header, directory, days))
        return partitions[0]

    result = stage_parquet(export, download, open_partitions, progress_interval=progress_interval)
    return result, partitions[0].files()


@dataclass
class _Day:
    """The rows of a day until its file is written.

    :param day: the day.
    :param window: the window of the day.
    :param spill: the temporary file of its rows.
    :param totals: the totals of its rows; None until its file is written.
    """

    day: date
    window: Window
    spill: Path
    writer: Any = None
    rows: int = 0
    totals: Totals | None = None


class DayPartitions:
    """Divide tables among the files of their days.

    Rows go to a temporary file of their day first. At the end each of these becomes a Parquet file. So the rows can be
    in any order, memory is constant, and row groups are large.

    :param header: of the export's file.
    :param directory: receives the files.
    :param days: each day and its window, without gaps.
    """

    def __init__(self, header: Header, directory: Path, days: Mapping[date, Window]) -> None:
        self._header = header
        self._schema = schema_of(header.columns)
        self._directory = directory
        self._days = [_Day(day, window, directory / f"{day}.arrow") for day, window in days.items()]
        instants = [*(day.window.start for day in self._days), self._days[-1].window.end]
        self._bounds = np.array([round(instant.timestamp() * 1e6) for instant in instants], np.int64)

    def write(self, table: pa.Table) -> None:
        """Add rows. Rows of no day are left out."""
        numbers = self._numbers(table.column("start_time").combine_chunks())
        if np.any(numbers[1:] < numbers[:-1]):
            order = np.argsort(numbers, kind="stable")
            numbers = numbers[order]
            taken = pa.Array.from_buffers(pa.int64(), len(order), [None, pa.py_buffer(order)])
            # Taking rows of several chunks is five times as slow.
            columns = [column.combine_chunks().take(taken) for column in table.columns]
            table = pa.table(columns, self._schema)
        found, firsts = np.unique(numbers, return_index=True)
        for number, first, end in zip(found.tolist(), firsts, [*firsts[1:], len(numbers)], strict=True):
            if 0 <= number < len(self._days):
                self._spill(self._days[number], table.slice(first, end - first))

    def _numbers(self, starts: pa.Array) -> Any:
        """Return the number of the day of each time; one without a day, for a time in none of them and for a null."""
        # Buffers, because to_numpy(), scalar() and array() import pandas where it is installed.
        instants = np.frombuffer(starts.buffers()[1], np.int64, len(starts), starts.offset * 8)
        numbers = np.searchsorted(self._bounds, instants, "right") - 1
        if starts.null_count:
            is_null = starts.is_null().cast(pa.uint8())
            numbers[np.frombuffer(is_null.buffers()[1], np.bool_, len(is_null), is_null.offset)] = -1
        return numbers

    def _spill(self, day: _Day, rows: pa.Table) -> None:
        if day.writer is None:
            # Not compressed: even lz4 takes longer than the disk.
            day.writer = pa.ipc.new_stream(pa.OSFile(str(day.spill), "wb"), self._schema)
        day.writer.write_table(rows)
        day.rows += rows.num_rows

    @property
    def rows(self) -> int:
        """The rows that have a file."""
        return sum(day.rows for day in self._days)

    def close(self, footer: FooterOf | None) -> None:
        """Write the files.

        :param footer: returns the metadata of a file; None for files without any.
        """
        with ThreadPoolExecutor(_WRITERS, thread_name_prefix="flowroute-landing") as threads:
            for _ in threads.map(lambda day: self._write_file(day, footer), self._days):
                pass

    def _write_file(self, day: _Day, footer: FooterOf | None) -> None:
        writer = CdrParquetWriter(self._path(day), self._header.columns)
        totals = totals_of(pa.Table.from_batches([], self._schema), self._header)
        try:
            if day.writer is not None:
                day.writer.close()
                with pa.OSFile(str(day.spill)) as file, pa.ipc.open_stream(file) as batches:
                    for table in rebatch(pa.Table.from_batches([batch]) for batch in batches):
                        totals += totals_of(table, self._header)
                        writer.write(table)
                day.spill.unlink()
            day.totals = totals
            writer.close(footer and footer(day.window, totals))
        finally:
            writer.discard()

    def rewrite(self, footer: FooterOf) -> None:
        """Give the files another footer."""
        for file in self.files():
            rewrite_footer(file.path, footer(file.window, file.totals))

    def read_ids(self) -> Iterator[pa.Table]:
        """Read the IDs of all calls."""
        for file in self.files():
            yield from read_parquet(file.path, ["cdr_id"])

    def _path(self, day: _Day) -> Path:
        # Not .parquet: on a local disk the folder is in the lake, and queries of its files must not find this one.
        return self._directory / f"{day.day}.part"

    def discard(self) -> None:
        """Close incomplete files."""
        for day in self._days:
            if day.writer is not None:
                day.writer.close()

    def files(self) -> list[DayFile]:
        """Return the files in the order of their days."""
        return [DayFile(day.day, day.window, self._path(day), day.totals) for day in self._days if day.totals]
