"""The result file of an export, in a stream: gzip, CSV, one header line, records."""

from __future__ import annotations

import csv
import gzip
import importlib
import io
import itertools
import logging
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

from airflow_provider_flowroute.cdr.columns import COLUMNS, REQUIRED, Value, parse_value
from airflow_provider_flowroute.exceptions import CdrExportFormatError, CdrExportIntegrityError

log = logging.getLogger(__name__)

#: Read of the gzip stream at a time: a read waits until so much has come, so not more than a moment's worth. It
#: inflates to somewhat less than a block.
_READ_BYTES = 1 << 19
#: Of the CSV at a time: less costs more calls, more outgrows the processor's cache.
BLOCK_BYTES = 1 << 21
#: For zlib: a gzip header and trailer, and the largest window.
_GZIP = 16 + zlib.MAX_WBITS
#: A record, quoted line ends and all, is no longer than this; one that is has a quote that nobody closed.
LONGEST_RECORD = 16 << 20


class Tee(io.RawIOBase):
    """Reads from one file and writes all that was read to another.

    :param source: where bytes come from.
    :param copy: where they go as well.
    """

    def __init__(self, source: io.RawIOBase, copy: BinaryIO) -> None:
        self._source = source
        self._copy = copy

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Read into ``buffer``; 0 at the end."""
        count = self._source.readinto(buffer) or 0
        self._copy.write(memoryview(buffer)[:count])
        return count


def inflate(compressed: io.RawIOBase, *, may_be_empty: bool = False) -> Iterator[bytes]:
    """The CSV inside a gzip stream, block by block, checked to the trailer of its last member.

    :param compressed: the stream.
    :param may_be_empty: whether a stream without a single byte will do, as a CSV without one.
    :raises CdrExportIntegrityError: at the end, when all good bytes were given out already: keep them in a
        temporary place until then.
    """
    source: Any = io.BufferedReader(compressed, _READ_BYTES)
    if not source.peek(1):
        if may_be_empty:
            return
        raise CdrExportIntegrityError("the gzip stream is not whole (it has not a single byte)")
    errors: tuple[type[Exception], ...] = (EOFError, zlib.error)
    try:
        igzip = importlib.import_module("isal.igzip")
    except ImportError:
        blocks = _inflated(source)
    else:  # more than twice as fast
        file = igzip.GzipFile(fileobj=source)
        blocks = iter(lambda: file.read(BLOCK_BYTES), b"")
        errors = (EOFError, gzip.BadGzipFile, igzip.isal_zlib.error)
    try:
        yield from blocks
    except errors as e:
        raise CdrExportIntegrityError(f"the gzip stream is not whole ({e})") from None


def _inflated(source: BinaryIO) -> Iterator[bytes]:
    """A gzip stream's members, one after the other; zlib itself compares their checksums and lengths.

    Not by gzip.GzipFile, which in Python 3.11 reads and copies so little at a time that it takes a fifth longer.
    """
    data = source.read(_READ_BYTES)
    while data:
        member = zlib.decompressobj(_GZIP)
        while not member.eof:
            if block := member.decompress(data, BLOCK_BYTES):
                yield block
            data = member.unused_data if member.eof else member.unconsumed_tail or source.read(_READ_BYTES)
            if not (block or data or member.eof):
                raise EOFError("it ends before its trailer")
        # Zeros behind a member are padding.
        while not (data := data.lstrip(b"\0")) and (data := source.read(_READ_BYTES)):
            pass


class Header:
    """The columns of one file.

    :param names: in the file's order.
    :raises CdrExportFormatError: a required column is missing, or a name is blank or stands twice.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        blank = [number for number, name in enumerate(names, 1) if not name.strip()]
        twice = sorted({name for name in names if names.count(name) > 1})
        if blank or twice:
            what = f"has {', '.join(twice)} twice" if twice else f"has no name for column {blank[0]}"
            raise CdrExportFormatError(f"line 1: the header {what}. It is: {','.join(names)[:500]}")
        absent = [name for name in REQUIRED if name not in names]
        if absent:
            raise CdrExportFormatError(
                f"line 1: the header lacks {', '.join(absent)}, without which a row says nothing. It is: "
                f"{','.join(names)[:500]}"
            )

    @property
    def missing(self) -> tuple[str, ...]:
        """Known columns that the file does not have."""
        return tuple(name for name in COLUMNS if name not in self.names)

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns of a table made of the file: the file's own in their order, then those it lacks."""
        return self.names + self.missing

    def tell(self) -> None:
        """Log what is out of the ordinary."""
        unknown = [name for name in self.names if name not in COLUMNS]
        if unknown:
            log.info(
                "The file has columns that this version does not know, kept as text: %s.", ", ".join(unknown)
            )
        if self.missing:
            log.warning("The file lacks the columns %s; in Parquet they are nulls.", ", ".join(self.missing))


def read_header(chunks: Iterator[bytes]) -> tuple[Header, Iterator[bytes]]:
    """Take the header off a file.

    :param chunks: the file from its first byte, a byte order mark included if it has one; from :func:`split_records`.
    :return: the header, and the chunks of what follows. A file without a byte has every known column and no record.
    :raises CdrExportFormatError: the header cannot be right.
    """
    first = next(chunks, b"")
    end = first.find(b"\n") + 1 or len(first)
    try:
        text = first[:end].decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as e:
        raise CdrExportFormatError(f"line 1: the header is not UTF-8 text ({e.reason})") from None
    if not text and end == len(first):
        return Header(COLUMNS), chunks
    header = Header(tuple(next(csv.reader([text]), [])))
    return header, itertools.chain([first[end:]] if first[end:] else [], chunks)


def split_records(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Cut a CSV file anew, between records only, wherever its blocks end.

    :param blocks: the file's bytes.
    :raises CdrExportFormatError: a quote is never closed.
    """
    # Whether a line end is inside quotes is a matter of parity: an escaped quote is two of them and changes nothing.
    pieces: list[bytes | memoryview] = []
    inside = False
    for block in blocks:
        end, inside = _end_of_last_record(block, inside)
        if end:
            yield b"".join((*pieces, memoryview(block)[:end]))
            pieces = []
        pieces.append(block[end:])
        if sum(map(len, pieces)) > LONGEST_RECORD:
            begin = b"".join(pieces)[:100]
            raise CdrExportFormatError(
                f"a record of over {LONGEST_RECORD >> 20} MiB: a quote in it is never closed. It begins with {begin!r}"
            )
    if rest := b"".join(pieces):
        yield rest


def _end_of_last_record(block: bytes, inside: bool) -> tuple[int, bool]:
    """Where the last record that ends in a block does so.

    :param inside: whether the block begins inside quotes.
    :return: the place just behind its line end, 0 if none ends here; and whether the block ends inside quotes.
    """
    at_end = inside ^ bool(_count(block, b'"') % 2)
    end, quoted = len(block), at_end
    while end:
        before = block.rfind(b"\n", 0, end) + 1
        quoted ^= bool(block.count(b'"', before, end) % 2)
        if not quoted:
            return before, at_end
        end = max(before - 1, 0)
    return 0, at_end


def with_line_numbers(chunks: Iterable[bytes]) -> Iterator[tuple[bytes, int]]:
    """Each chunk from :func:`read_header` with the line on which it begins."""
    line = 2
    for chunk in chunks:
        yield chunk, line
        line += _count(chunk, b"\n")


def _count(block: bytes, character: bytes) -> int:
    """How often a character stands in a block; numpy counts four times as fast as bytes.count."""
    try:
        import numpy as np
    except ImportError:
        return block.count(character)
    return int(np.count_nonzero(np.frombuffer(block, np.uint8) == ord(character)))


def read_rows(chunk: bytes, header: Header, line: int) -> Iterator[tuple[int, list[str]]]:
    """The records of a chunk, with the line on which each begins. Slow: for want of pyarrow, and to explain an error.

    :param chunk: whole records.
    :param header: the file's.
    :param line: the line on which the chunk begins; the header is on line 1.
    :raises CdrExportFormatError: a record has more or fewer fields than the header, or is not UTF-8 text.
    """
    try:
        text = chunk.decode()
    except UnicodeDecodeError as e:
        line += chunk.count(b"\n", 0, e.start)
        raise CdrExportFormatError(f"line {line}: not UTF-8 text ({e.reason})") from None
    rows = csv.reader(io.StringIO(text, newline=""))
    first = line
    for row in rows:
        if row and len(row) != len(header.names):
            raise CdrExportFormatError(
                f"line {line}: {len(row)} fields instead of {len(header.names)}; the last is {row[-1][:100]!r}"
            )
        if row:
            yield line, row
        line = first + rows.line_num


def read_columns(
    chunk: bytes, header: Header, line: int, wanted: Sequence[str]
) -> Iterator[tuple[Value, ...]]:
    """The values of some columns, typed, record by record; see :func:`read_rows`.

    :param wanted: columns that the file has.
    :raises CdrExportFormatError: a value does not fit its column's type, with line and column.
    """
    places = [(name, header.names.index(name)) for name in wanted]
    for begins, row in read_rows(chunk, header, line):
        values = []
        for name, place in places:
            try:
                values.append(parse_value(name, row[place]))
            except ValueError as e:
                raise CdrExportFormatError(
                    f"line {begins}, column {name}: {row[place][:100]!r} is not {e}"
                ) from None
        yield tuple(values)
