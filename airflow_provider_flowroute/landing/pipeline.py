"""Download, inflate, parse, check and write an export's file in one pass.

The stages run side by side, a few blocks apart: the slowest of them determines the time, and memory does not grow with
the file.
"""

from __future__ import annotations

import io
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self, TypeVar

import pyarrow as pa

from airflow_provider_flowroute.api.download import ResumableDownload
from airflow_provider_flowroute.cdr.columns import RECONCILED_COLUMNS
from airflow_provider_flowroute.cdr.export import CdrExport
from airflow_provider_flowroute.cdr.window import Window
from airflow_provider_flowroute.exceptions import CdrExportFormatError
from airflow_provider_flowroute.landing.arrow import (
    CdrParquetWriter,
    read_parquet,
    read_tables,
    rebatch,
    rewrite_footer,
    schema_of,
    totals_of,
)
from airflow_provider_flowroute.landing.csv_stream import CsvStream, Header, Tee, read_header
from airflow_provider_flowroute.landing.duplicates import DuplicateFinder, confirm
from airflow_provider_flowroute.landing.footer import footer_metadata
from airflow_provider_flowroute.landing.publish import PROGRESS_INTERVAL
from airflow_provider_flowroute.landing.reconciliation import Reconciliation, Totals

log = logging.getLogger(__name__)

#: How many tables are parsed, and row groups written, ahead of their use. More only take memory.
_PARSED_AHEAD, _WRITTEN_AHEAD = 3, 2
_In = TypeVar("_In")
_Out = TypeVar("_Out")


def stage(
    export: CdrExport,
    download: ResumableDownload,
    path: Path,
    file_format: str,
    *,
    progress_interval: float = PROGRESS_INTERVAL,
) -> Reconciliation:
    """Write an export's file to a local path and reconcile it with the export.

    :param export: the export as Flowroute describes it.
    :param download: its file, from :meth:`FlowrouteClient.open_cdr_export`.
    :param path: a new file. Do not publish it before the result is known to be good.
    :param file_format: one of :data:`airflow_provider_flowroute.landing.FORMATS`.
    :param progress_interval: seconds between two lines about the progress in the log.
    :return: what the file adds up to, and the checks against Flowroute's figures.
    :raises CdrExportIntegrityError: the gzip stream is incomplete or damaged.
    :raises CdrExportFormatError: the header, a record or a value does not have the documented format.
    """
    if file_format == "parquet":
        return stage_parquet(
            export, download, lambda header: _OneFile(path, header), progress_interval=progress_interval
        )
    with Progress(f"Export {export.id}", download, progress_interval) as progress:
        return _to_csv(export, download, path, progress, keep_gzip=file_format == "csv.gz")


def _to_csv(
    export: CdrExport, download: ResumableDownload, path: Path, progress: Progress, *, keep_gzip: bool
) -> Reconciliation:
    with path.open("wb") as file:
        source, copy = (Tee(download, file), None) if keep_gzip else (download, file)
        stream = _inflate(export, source, copy)
        with _parsed(stream, RECONCILED_COLUMNS) as (header, tables):
            count = _Count(header, RECONCILED_COLUMNS, progress)
            for _ in count.watch(tables):
                pass
    duplicates = []
    if candidates := count.finder.candidates():
        with path.open("rb", buffering=0) as staged:
            again = _inflate(export, staged) if keep_gzip else io.BufferedReader(staged)
            duplicates = confirm(candidates, read_tables(again, read_header(again), ["cdr_id"]))
    return Reconciliation(export, count.totals, header.names, duplicates)


#: Returns the metadata of a file, given its window and totals; None for those of the export.
FooterOf = Callable[[Window | None, Totals | None], Mapping[str, str]]


class ParquetFiles(Protocol):
    """The files that receive the rows of an export."""

    @property
    def rows(self) -> int:
        """The rows that are in a file."""

    def write(self, table: pa.Table, /) -> None:
        """Add rows."""

    def close(self, footer: FooterOf | None, /) -> None:
        """Complete the files, with a footer if there is one."""

    def rewrite(self, footer: FooterOf, /) -> None:
        """Give the files another footer."""

    def read_ids(self) -> Iterator[pa.Table]:
        """Read the IDs of all calls."""

    def discard(self) -> None:
        """Close incomplete files."""


class _OneFile:
    """All rows in one file.

    :param path: the file.
    :param header: of the export's file.
    """

    def __init__(self, path: Path, header: Header) -> None:
        self._path = path
        self._writer = CdrParquetWriter(path, header.columns)
        self.discard = self._writer.discard
        self.rows = 0

    def write(self, table: pa.Table) -> None:
        self.rows += table.num_rows
        self._writer.write(table)

    def close(self, footer: FooterOf | None) -> None:
        self._writer.close(footer and footer(None, None))

    def rewrite(self, footer: FooterOf) -> None:
        rewrite_footer(self._path, footer(None, None))

    def read_ids(self) -> Iterator[pa.Table]:
        return read_parquet(self._path, ["cdr_id"])


def stage_parquet(
    export: CdrExport,
    download: ResumableDownload,
    open_files: Callable[[Header], ParquetFiles],
    *,
    progress_interval: float = PROGRESS_INTERVAL,
) -> Reconciliation:
    """Write an export's rows to Parquet files and reconcile them with the export.

    :param export: the export as Flowroute describes it.
    :param download: its file, from :meth:`FlowrouteClient.open_cdr_export`.
    :param open_files: called with the header of the export's file.
    :param progress_interval: seconds between two lines about the progress in the log.
    """
    with ExitStack() as stack:
        progress = stack.enter_context(Progress(f"Export {export.id}", download, progress_interval))
        header, tables = stack.enter_context(_parsed(_inflate(export, download)))
        count = _Count(header, header.columns, progress)
        files = open_files(header)
        stack.callback(files.discard)
        row_groups = rebatch(count.watch(tables))
        for _ in stack.enter_context(threaded_map(files.write, row_groups, _WRITTEN_AHEAD)):
            pass

        def reconcile(duplicates: Sequence[str] = ()) -> tuple[Reconciliation, FooterOf]:
            unassigned = count.totals.rows - files.rows
            result = Reconciliation(export, count.totals, header.names, duplicates, unassigned=unassigned)
            return result, partial(footer_metadata, export, result)

        candidates = count.finder.candidates()
        if not candidates:
            result, footer = reconcile()
            files.close(footer)
            return result
        # Without a footer the IDs in the files cannot be read, and the footer holds the result.
        files.close(None)
    result, footer = reconcile(confirm(candidates, files.read_ids()))
    files.rewrite(footer)
    return result


def _inflate(export: CdrExport, gzipped: io.RawIOBase, copy: BinaryIO | None = None) -> CsvStream:
    # If Flowroute counts no calls, a file without a byte is complete. Otherwise it was cut at its first byte.
    return CsvStream(gzipped, may_be_empty=export.num_calls == 0, copy=copy)


@contextmanager
def _parsed(
    stream: CsvStream, columns: Sequence[str] | None = None
) -> Iterator[tuple[Header, Iterator[pa.Table]]]:
    """Read the header of a file, and its tables ahead of their use, in a thread of their own."""
    try:
        header = read_header(stream)
        header.log_unusual_columns()
        with (
            closing(read_tables(stream, header, columns)) as tables,
            threaded_map(lambda _: next(tables, None), itertools.repeat(None), _PARSED_AHEAD) as ahead,
        ):
            yield header, itertools.takewhile(lambda table: table is not None, ahead)
    except CdrExportFormatError:
        # Damage can look like a wrong value. Only gzip's check, at the end, detects it.
        stream.drain()
        raise


class _Count:
    """Add up tables, and collect their IDs, as they pass."""

    def __init__(self, header: Header, columns: Sequence[str], progress: Progress) -> None:
        self._header = header
        self._progress = progress
        self.totals = totals_of(pa.Table.from_batches([], schema_of(columns)), header)
        self.finder = DuplicateFinder()

    def watch(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        for table in tables:
            self.totals += totals_of(table, self._header)
            self.finder.add(table)
            self._progress.rows = self.totals.rows
            yield table


@contextmanager
def threaded_map(
    function: Callable[[_In], _Out], items: Iterable[_In], ahead: int, threads: int = 1
) -> Iterator[Iterator[_Out]]:
    """Apply a function to each item in threads, and hold up to ``ahead`` results, in order, until they are used.

    From Python 3.14 on ``Executor.map(buffersize=...)`` does this.

    :param function: applied to each item.
    :param items: read in the thread that uses the results.
    :param ahead: at least 1.
    :param threads: with one, an item starts when the item before it is done.
    """

    def results() -> Iterator[_Out]:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) == ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    pending: deque[Future[_Out]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="flowroute-landing")
    try:
        yield results()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class Progress:
    """Log the progress of a download at intervals, and its end if it took longer than one. A context manager.

    :param what: what is downloaded.
    :param download: has the number of bytes that have arrived.
    :param interval: seconds between two lines.
    """

    def __init__(self, what: str, download: ResumableDownload, interval: float) -> None:
        self._what = what
        self._download = download
        self._interval = interval
        self._started = time.monotonic()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="flowroute-landing-progress", daemon=True)
        #: Rows so far.
        self.rows = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        if error is None and time.monotonic() - self._started >= self._interval:
            log.info("%s", self)

    def _run(self) -> None:
        while not self._done.wait(self._interval):
            log.info("%s", str(self))  # not self: a handler may format the record later

    def __str__(self) -> str:
        done, total = self._download.position, self._download.total
        share = f" of {total / 1e6:.1f} MB ({done / total:.0%})" if total else " MB"
        seconds = max(time.monotonic() - self._started, 1e-3)
        rate = done / 1e6 / seconds
        return f"{self._what}: {done / 1e6:.1f}{share}, {self.rows:,} rows, {seconds:.0f} s, {rate:.1f} MB/s"
