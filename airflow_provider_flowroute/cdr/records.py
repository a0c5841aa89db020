"""The result file of an export: gzip, CSV, one header line."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from airflow_provider_flowroute.exceptions import CdrExportIntegrityError

#: The columns of the newest files, in the file's order. Older files end at ``customer_ip``.
COLUMNS: tuple[str, ...] = (
    "direction",
    "start_time",
    "end_time",
    "destination",
    "number_alias",
    "callerid",
    "total_cost",
    "destination_name",
    "callerid_country",
    "line_information",
    "result",
    "call_fail_sip_code",
    "call_fail_reason",
    "duration",
    "billed_duration",
    "rate",
    "first_increment",
    "subsequent_increment",
    "cost_subtotal",
    "connect_fee",
    "usf_fee",
    "ccrf",
    "cnam_lookup_fee",
    "custom_x_tag",
    "customer_ip",
    "sip_callid",
    "cdr_id",
    "sip_from_tag",
    "sip_to_tag",
)

BLOCK_BYTES = 1 << 20


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


def inflate(compressed: io.RawIOBase) -> Iterator[bytes]:
    """The CSV inside a gzip stream, block by block, checked to the trailer of its last member.

    :raises CdrExportIntegrityError: at the end, when all good bytes were given out already: keep them in a
        temporary place until then.
    """
    source = io.BufferedReader(compressed, BLOCK_BYTES)
    if not source.peek(1):  # which GzipFile would take for an empty file
        raise CdrExportIntegrityError("the gzip stream is not whole (it has not a single byte)")
    try:
        with gzip.GzipFile(fileobj=source) as file:
            while block := file.read(BLOCK_BYTES):
                yield block
    except (EOFError, gzip.BadGzipFile, zlib.error) as e:
        raise CdrExportIntegrityError(f"the gzip stream is not whole ({e})") from None


class RowCounter:
    """Counts the records of a CSV file as its blocks pass by: lines, but for line ends inside quotes."""

    def __init__(self) -> None:
        self._lines = 0
        self._quoted = False
        self._ended = True

    def feed(self, block: bytes) -> None:
        """Take the next block, cut anywhere."""
        # An escaped quote is two of them, so it leaves the parity as it was.
        pieces = block.split(b'"')
        self._lines += sum(piece.count(b"\n") for piece in pieces[self._quoted :: 2])
        self._quoted ^= len(pieces) % 2 == 0
        self._ended = block.endswith(b"\n") if block else self._ended

    @property
    def rows(self) -> int:
        """Records so far, without the header; a last line that lacks its line end counts."""
        return max(0, self._lines + (not self._ended) - 1)
