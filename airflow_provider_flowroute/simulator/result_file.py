"""The file of an export: a gzip CSV, and its totals as Flowroute reports them."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from airflow_provider_flowroute.simulator.calls import COLUMNS, SAMPLE_COLUMNS, SAMPLE_DAY, Call

#: The name of each sum in the resource, and its column in the file.
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
    """The totals of an export: rows, billed seconds, and exact sums in USD by their name in the resource."""

    num_calls: int = 0
    billed_seconds: int = 0
    money: dict[str, Decimal] = field(default_factory=lambda: dict.fromkeys(SUMS, Decimal(0)))

    def add(self, call: Call) -> None:
        """Add a call."""
        self.num_calls += 1
        self.billed_seconds += int(call.row["billed_duration"])
        for name, column in SUMS.items():
            self.money[name] += Decimal(call.row[column])


@dataclass(frozen=True)
class ResultFile:
    """A file in the storage: a gzip CSV, and the totals of its rows."""

    content: bytes
    totals: Totals

    @property
    def csv(self) -> bytes:
        """The uncompressed file."""
        return gzip.decompress(self.content)


def write_file(calls: Iterable[Call], columns: tuple[str, ...]) -> ResultFile:
    """Write calls to a file. The same calls give the same bytes: the gzip header has no time."""
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
    """Return the columns of a window's file. Files of the day of the real sample have the older format."""
    is_old = start >= SAMPLE_DAY and end <= SAMPLE_DAY + timedelta(days=1)
    return COLUMNS[:SAMPLE_COLUMNS] if is_old else COLUMNS
