"""The result of an export: its gzip CSV and the sums Flowroute shows beside it."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from airflow_provider_flowroute.cdr.columns import COLUMNS
from airflow_provider_flowroute.simulator.calls import SAMPLE_COLUMNS, SAMPLE_DAY, Call

#: What the resource calls each sum, and the column it is the sum of.
SUMS = {
    "total_cost": "total_cost",
    "call_subtotal": "cost_subtotal",
    "connect_fees": "connect_fee",
    "cnamlookup_fees": "cnam_lookup_fee",
    "usf_fees": "usf_fee",
    "ccrf": "ccrf",
}


@dataclass
class Totals:
    """What an export adds up to.

    :param num_calls: rows in the file.
    :param billed_seconds: the sum of ``billed_duration``.
    :param money: the exact sums in USD, by their name in the resource.
    """

    num_calls: int = 0
    billed_seconds: int = 0
    money: dict[str, Decimal] = field(default_factory=lambda: dict.fromkeys(SUMS, Decimal(0)))

    def add(self, call: Call) -> None:
        """Count a call in.

        :param call: the call.
        """
        self.num_calls += 1
        self.billed_seconds += int(call.row["billed_duration"])
        for name, column in SUMS.items():
            self.money[name] += Decimal(call.row[column])


@dataclass(frozen=True)
class ResultFile:
    """A file as it lies in the storage.

    :param content: the gzip CSV.
    :param totals: what its rows add up to.
    """

    content: bytes
    totals: Totals

    @property
    def csv(self) -> bytes:
        """The uncompressed file."""
        return gzip.decompress(self.content)


def etag_of(content: bytes) -> str:
    """Give the ETag the storage shows for an object, quotes included.

    :param content: the object's bytes.
    """
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'


def write_file(calls: Iterable[Call], columns: tuple[str, ...]) -> ResultFile:
    """Write calls to a file. The same calls give the same bytes: the gzip header bears no time.

    :param calls: the rows, in order.
    :param columns: the header.
    """
    totals = Totals()
    content = io.BytesIO()
    with (
        gzip.GzipFile(filename="", fileobj=content, mode="wb", compresslevel=6, mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="utf-8", newline="") as text,
    ):
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(columns)
        for call in calls:
            rows.writerow([call.row[name] for name in columns])
            totals.add(call)
    return ResultFile(content.getvalue(), totals)


def columns_for(start: datetime, end: datetime) -> tuple[str, ...]:
    """Tell which columns a file has: those of the day of the real sample are of an older make.

    :param start: the window's first instant, UTC.
    :param end: the window's end, UTC.
    """
    old = start >= SAMPLE_DAY and end <= SAMPLE_DAY + timedelta(days=1)
    return COLUMNS[:SAMPLE_COLUMNS] if old else COLUMNS
