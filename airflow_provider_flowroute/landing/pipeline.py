"""An export's file on its way to a local place: downloaded, inflated, read, checked and written in one pass.

The stages run at the same time, a few blocks apart, so that the slowest of them alone tells how long it takes, and
memory does not grow with the file.
"""

from __future__ import annotations

import importlib.util
import io
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from airflow_provider_flowroute import __version__
from airflow_provider_flowroute.api.download import ResumableDownload
from airflow_provider_flowroute.cdr.columns import RECONCILED_COLUMNS
from airflow_provider_flowroute.cdr.export import CdrExport
from airflow_provider_flowroute.exceptions import CdrExportFormatError, FlowrouteError, FlowrouteValueError
from airflow_provider_flowroute.landing.csv_stream import (
    Header,
    Tee,
    inflate,
    read_header,
    split_records,
    with_line_numbers,
)
from airflow_provider_flowroute.landing.duplicates import Ids
from airflow_provider_flowroute.landing.publish import PROGRESS_INTERVAL
from airflow_provider_flowroute.landing.reconciliation import Reconciliation

log = logging.getLogger(__name__)

#: By the suffix of a path, longest first.
FORMATS = ("csv.gz", "csv", "parquet")
#: How many blocks may be inflated, chunks be in reading, and row groups in writing: more only takes memory.
_AHEAD, _BESIDE, _BEHIND = 4, 3, 2
_T = TypeVar("_T")


def check_format(file_format: str) -> None:
    """Make sure that a file of this form can be written here.

    :raises FlowrouteValueError: there is no such form, or what writes it is not installed.
    """
    if file_format not in FORMATS:
        raise FlowrouteValueError(f"file_format is {file_format!r}: expected one of {', '.join(FORMATS)}.")
    if file_format == "parquet" and not _has_arrow():
        raise FlowrouteValueError(
            "Parquet needs pyarrow and numpy, which are not installed here. Install them where tasks run: "
            "pip install 'airflow-provider-flowroute[parquet]'. Or land 'csv' or 'csv.gz'."
        )


def stage(export: CdrExport, download: ResumableDownload, path: Path, file_format: str) -> Reconciliation:
    """Write an export's file to a local path, in the form asked for, and reconcile it with the export.

    :param export: as Flowroute describes it.
    :param download: its file, from :meth:`FlowrouteClient.open_cdr_export`.
    :param path: a new file. Whether it is good only the result tells: do not put it where it may be read before.
    :param file_format: one of :data:`FORMATS`.
    :return: what the file adds up to, and whether that is what Flowroute says.
    :raises CdrExportIntegrityError: the gzip stream is not whole.
    :raises CdrExportFormatError: the header, a row or a value is not of the form it should have.
    """
    if file_format == "parquet":
        blocks = _Blocks(_inflated(export, download))
        result = _read(export, download, blocks, path)
    else:
        with path.open("wb") as file:
            keep_gzip = file_format == "csv.gz"
            inflated = _inflated(export, Tee(download, file) if keep_gzip else download)
            blocks = _Blocks(inflated if keep_gzip else _copied(inflated, file))
            result = _read(export, download, blocks)
    return result


def _inflated(export: CdrExport, gzipped: io.RawIOBase) -> Iterator[bytes]:
    # Where Flowroute counts no call, an empty object says the same; elsewhere it is a file cut at its first byte.
    return inflate(gzipped, may_be_empty=export.num_calls == 0)


def _copied(blocks: Iterator[bytes], file: BinaryIO) -> Iterator[bytes]:
    for block in blocks:
        file.write(block)
        yield block


class _Blocks:
    """The blocks of a file, and what became of them: they are read in another thread than the one that asks."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._error: FlowrouteError | OSError | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            # Not `yield from`, which would close the blocks with whoever stops reading them.
            for block in self._blocks:  # noqa: UP028
                yield block
        except (FlowrouteError, OSError) as e:
            self._error = e
            raise

    def drain(self) -> None:
        """Read what is left, and raise what reading has raised, now or before."""
        if self._error is not None:
            raise self._error
        for _ in self:
            pass


def _read(
    export: CdrExport, download: ResumableDownload, blocks: _Blocks, parquet: Path | None = None
) -> Reconciliation:
    """Read a file to its end, adding it up, and writing it as Parquet if asked for."""
    progress = Progress(f"Export {export.id}", download)
    try:
        with ExitStack() as stack:
            inflated = stack.enter_context(_ahead(iter(blocks), progress.tell))
            header, chunks = read_header(split_records(inflated))
            header.tell()
            reader = _reader(header, parquet)
            ids = stack.enter_context(Ids())
            file = _parquet_file(parquet, header, stack) if parquet is not None else None
            write = stack.enter_context(_behind(file.write)) if file is not None else None
            figures = reader.figures(reader.read(b""))  # of no row
            tables = stack.enter_context(_beside(reader.read, with_line_numbers(chunks)))
            for table in reader.gather(tables):
                if write is not None:
                    write(table)
                figures += reader.figures(table)
                if found := reader.ids(table):
                    ids.add(found)
                progress.rows = figures.rows
            result = Reconciliation(export, figures, header.names, ids.repeated())
            if file is not None and write is not None:
                write(None)
                file.finish(_metadata(export, result))
    except CdrExportFormatError:
        # Damage can look like anything: gzip's own check, at the end, knows it from a wrong form.
        blocks.drain()
        raise
    progress.done()
    return result


def _has_arrow() -> bool:
    return all(importlib.util.find_spec(name) for name in ("pyarrow", "numpy"))


def _reader(header: Header, parquet: Path | None) -> Any:
    """What reads the columns that are wanted, as fast as what is installed can."""
    if not _has_arrow():
        from airflow_provider_flowroute.cdr.plain import PlainReader

        return PlainReader(header)
    from airflow_provider_flowroute.landing.arrow import ArrowReader

    return ArrowReader(header, RECONCILED_COLUMNS if parquet is None else None)


def _parquet_file(path: Path, header: Header, stack: ExitStack) -> Any:
    from airflow_provider_flowroute.landing.arrow import CdrParquetWriter, schema_of

    file = CdrParquetWriter(path, schema_of(header))
    stack.callback(file.abandon)
    return file


def _metadata(export: CdrExport, result: Reconciliation) -> dict[str, Any]:
    window = export.window
    return {
        "export_id": export.id,
        "window_start": window.start.isoformat() if window else "",
        "window_end": window.end.isoformat() if window else "",
        "provider_version": __version__,
        "figures": result.figures.as_json(),
        "reconciliation": result.as_json(),
    }


@contextmanager
def _ahead(items: Iterator[_T], tick: Callable[[], None]) -> Iterator[Iterator[_T]]:
    """The items, made in a thread of their own, some of them before they are asked for.

    :param tick: called for each, and every second while one is waited for.
    """
    end = object()

    def taken() -> Iterator[_T]:
        while True:
            first = waiting.popleft()
            while not wait([first], timeout=1).done:
                tick()
            tick()
            item = first.result()
            if item is end:
                return
            waiting.append(thread.submit(next, items, end))
            yield item  # type: ignore[misc]

    thread = ThreadPoolExecutor(1, thread_name_prefix="flowroute-landing")
    try:
        waiting = deque(thread.submit(next, items, end) for _ in range(_AHEAD))
        yield taken()
    finally:
        thread.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _beside(do: Callable[[bytes, int], _T], items: Iterator[tuple[bytes, int]]) -> Iterator[Iterator[_T]]:
    """What comes of each item, made in a thread of its own while the next items are fetched.

    One thread, as writing what it makes takes one as long: a second only makes them all slower.

    :param do: makes something of an item.
    """

    def done() -> Iterator[_T]:
        for item in items:
            waiting.append(thread.submit(do, *item))
            if len(waiting) == _BESIDE:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    waiting: deque[Future[_T]] = deque()
    thread = ThreadPoolExecutor(1, thread_name_prefix="flowroute-landing")
    try:
        yield done()
    finally:
        thread.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _behind(do: Callable[[_T], object]) -> Iterator[Callable[[_T | None], None]]:
    """What does something with one item after the other, in a thread of its own, behind of who gives them.

    Given None, it waits for the last.
    """

    def give(item: _T | None) -> None:
        while len(waiting) >= (1 if item is None else _BEHIND):
            waiting.popleft().result()
        if item is not None:
            waiting.append(thread.submit(do, item))

    waiting: deque[Future[object]] = deque()
    thread = ThreadPoolExecutor(1, thread_name_prefix="flowroute-landing")
    try:
        yield give
    finally:
        thread.shutdown(wait=True, cancel_futures=True)


class Progress:
    """Says from time to time how far a download has come.

    :param what: what is being downloaded.
    :param download: which knows how much of it has come.
    """

    def __init__(self, what: str, download: ResumableDownload) -> None:
        self._what = what
        self._download = download
        self._started = self._told = time.monotonic()
        self._lock = threading.Lock()
        #: Rows so far.
        self.rows = 0

    def tell(self) -> None:
        """A line in the log, if the last one is long enough ago."""
        with self._lock:
            now = time.monotonic()
            if now - self._told >= PROGRESS_INTERVAL:
                self._told = now
                log.info("%s", str(self))  # as it is now: a handler may look later

    def done(self) -> None:
        """The last line, if there was any before."""
        if self._told > self._started:
            log.info("%s", str(self))

    def __str__(self) -> str:
        done, total = self._download.position, self._download.total
        share = f" of {total / 1e6:.1f} MB ({done / total:.0%})" if total else " MB"
        seconds = max(time.monotonic() - self._started, 1e-3)
        rate = done / 1e6 / seconds
        return f"{self._what}: {done / 1e6:.1f}{share}, {self.rows:,} rows, {seconds:.0f} s, {rate:.1f} MB/s"
