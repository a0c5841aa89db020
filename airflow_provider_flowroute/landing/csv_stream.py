"""The CSV inside an export's gzip file, as a stream: a header line, then one record for each call."""

from __future__ import annotations

import csv
import gzip
import io
import logging
from collections.abc import Callable
from typing import Any, BinaryIO, Protocol

from isal import igzip, isal_zlib

from airflow_provider_flowroute.cdr.columns import COLUMNS, REQUIRED
from airflow_provider_flowroute.exceptions import (
    CdrExportFormatError,
    CdrExportIntegrityError,
    FlowrouteError,
)

log = logging.getLogger(__name__)

#: Bytes of gzip for each read. A read waits until they have arrived, so this must not be more than a moment's worth.
_READ_BYTES = 1 << 19
#: What an incomplete or damaged stream raises.
_DAMAGED: tuple[type[Exception], ...] = (EOFError, gzip.BadGzipFile, isal_zlib.error)  # type: ignore[assignment]
#: No header is longer. A file without a line end, such as a web page, must not fill the memory.
_MAX_HEADER_BYTES = 1 << 16


class Readable(Protocol):
    """The part of a binary stream that reading a CSV needs."""

    def peek(self, size: int, /) -> bytes: ...
    def readline(self, size: int | None, /) -> bytes: ...


class Tee(io.RawIOBase):
    """Read from one file and write all bytes that were read to another.

    :param source: the file to read.
    :param copy: receives the same bytes.
    """

    def __init__(self, source: io.RawIOBase, copy: BinaryIO) -> None:
        self._source = source
        self._copy = copy

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Read into ``buffer``; 0 at the end."""
        count = self._source.readinto(buffer) or 0
        self._copy.write(memoryview(buffer)[:count])
        return count


class CsvStream(io.BufferedIOBase):
    """Inflate a gzip stream, and check it to the trailer of its last member.

    The check of the trailer comes last, when all bytes have been read: keep them in a temporary place until then.

    :param compressed: the gzip stream.
    :param may_be_empty: accept a stream without a single byte as an empty CSV.
    :param copy: receives the inflated bytes.
    :raises CdrExportIntegrityError: from each read, if the stream is incomplete or damaged.
    """

    def __init__(
        self, compressed: io.RawIOBase, *, may_be_empty: bool = False, copy: BinaryIO | None = None
    ) -> None:
        source = io.BufferedReader(compressed, _READ_BYTES)
        self._gzip: Any = igzip.GzipFile(fileobj=source)
        self._copy = copy
        self._error: Exception | None = None
        if not source.peek(1) and not may_be_empty:
            raise CdrExportIntegrityError(
                "The gzip stream is incomplete: it is empty.\nThe task's retry downloads the file again."
            )

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to ``size`` bytes; none at the end."""
        return self._copied(self._checked(self._gzip.read, -1 if size is None else size))

    def readline(self, size: int | None = -1, /) -> bytes:
        """Read one line, or ``size`` bytes of it."""
        return self._copied(self._checked(self._gzip.readline, -1 if size is None else size))

    def peek(self, size: int = 1, /) -> bytes:
        """Return some of the next bytes without reading them; none at the end."""
        return self._checked(self._gzip.peek, size)

    def drain(self) -> None:
        """Read to the end, and raise the error that reading the stream raises, now or before."""
        while self.read(_READ_BYTES):
            pass

    def _copied(self, data: bytes) -> bytes:
        if self._copy is not None:
            self._copy.write(data)
        return data

    def _checked(self, read: Callable[[int], bytes], size: int) -> bytes:
        if self._error is None:
            try:
                return read(size)
            except _DAMAGED as e:
                self._error = CdrExportIntegrityError(
                    f"The gzip stream is incomplete or damaged.\n{e}\nThe task's retry downloads the file again."
                )
            except (FlowrouteError, OSError) as e:
                self._error = e
        raise self._error from None


class Header:
    """The columns of one file.

    :param names: in the file's order.
    :raises CdrExportFormatError: a required column is missing, or a name is blank or a duplicate.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        blank = [number for number, name in enumerate(names, 1) if not name.strip()]
        duplicates = sorted({name for name in names if names.count(name) > 1})
        missing = [name for name in REQUIRED if name not in names]
        problem = None
        if duplicates:
            problem = f"has duplicate columns: {', '.join(duplicates)}"
        elif blank:
            problem = f"has no name for column {blank[0]}"
        elif missing:
            problem = f"lacks required columns: {', '.join(missing)}"
        if problem:
            raise CdrExportFormatError(
                f"The header (line 1) {problem}.\nThe header is: {','.join(names)[:500]}"
            )

    @property
    def missing(self) -> tuple[str, ...]:
        """Known columns that the file does not have."""
        return tuple(name for name in COLUMNS if name not in self.names)

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns of a table made from the file: the file's own in their order, then the missing ones."""
        return self.names + self.missing

    def log_unusual_columns(self) -> None:
        """Log unknown and missing columns."""
        unknown = [name for name in self.names if name not in COLUMNS]
        if unknown:
            log.info(
                "The file has unknown columns. They are kept as text: %s.",
                ", ".join(unknown),
            )
        if self.missing:
            log.warning("The file lacks the columns %s. In Parquet they are null.", ", ".join(self.missing))


def read_header(stream: Readable) -> Header:
    """Read the header line of a file. A file without a byte has every known column and no record.

    :param stream: the file from its first byte, including a byte order mark if it has one.
    :raises CdrExportFormatError: the header is not usable.
    """
    line = stream.readline(_MAX_HEADER_BYTES)
    try:
        text = line.decode("utf-8-sig").rstrip("\r\n")
        names = next(csv.reader([text]), [])
    except (UnicodeDecodeError, csv.Error) as e:
        raise CdrExportFormatError(f"The header (line 1) is not UTF-8 text in CSV ({e}).") from None
    if not text and not stream.peek(1):
        return Header(COLUMNS)
    return Header(tuple(names))
