"""A file's records without pyarrow: as much of them as the proof needs, at a tenth of the speed."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

from airflow_provider_flowroute.cdr.columns import RECONCILED_COLUMNS, Value
from airflow_provider_flowroute.landing.csv_stream import Header, read_columns
from airflow_provider_flowroute.landing.duplicates import ID_BYTES, HashedIds
from airflow_provider_flowroute.landing.reconciliation import Totals

Columns = dict[str, Sequence[Value]]


class PlainReader:
    """Reads the columns of each chunk of a file that the proof needs.

    :param header: the file's.
    """

    def __init__(self, header: Header) -> None:
        self._header = header
        self._wanted = [name for name in RECONCILED_COLUMNS if name in header.names]

    def read(self, chunk: bytes, line: int = 2) -> Columns:
        """The chunk's columns.

        :param chunk: whole records.
        :param line: the line on which it begins, for errors.
        :raises CdrExportFormatError: a value does not fit its column's type, or a row has too few fields or too
            many; with line and column.
        """
        rows = list(read_columns(chunk, self._header, line, self._wanted))
        columns = zip(*rows, strict=True) if rows else [()] * len(self._wanted)
        return dict(zip(self._wanted, columns, strict=True))

    def gather(self, columns: Iterable[Columns]) -> Iterator[Columns]:
        """The same: there is nothing to be won by larger pieces."""
        return iter(columns)

    def figures(self, columns: Columns) -> Totals:
        """What the rows add up to."""
        starts: list[Any] = [start for start in columns["start_time"] if start is not None]
        return Totals(
            rows=len(columns["start_time"]),
            total_cost=self._total(columns, "total_cost", Decimal(0)),
            billed_seconds=self._total(columns, "billed_duration", 0),
            first_start=min(starts, default=None),
            last_start=max(starts, default=None),
            without_start=len(columns["start_time"]) - len(starts),
        )

    def _total(self, columns: Columns, column: str, zero: Any) -> Any:
        if column not in columns:
            return None
        values: list[Any] = [value for value in columns[column] if value is not None]
        return sum(values, zero)

    def ids(self, columns: Columns) -> HashedIds | None:
        """The ``cdr_id`` of each row that has one."""
        ids = [str(each).encode()[:ID_BYTES] for each in columns.get("cdr_id", ()) if each is not None]
        if not ids:
            return None
        width = max(map(len, ids))
        hashes = array("Q", (hash(each) & (2**64 - 1) for each in ids))
        return HashedIds(hashes.tobytes(), b"".join(each.ljust(width, b"\0") for each in ids), width)
