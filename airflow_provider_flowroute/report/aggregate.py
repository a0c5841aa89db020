"""Add up the calls of landed files, in constant memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from airflow_provider_flowroute.landing.arrow import schema_of
from airflow_provider_flowroute.landing.pipeline import threaded_map
from airflow_provider_flowroute.report.data import Figures

#: The fees of a call. They add up to its ``total_cost``.
FEES = ("cost_subtotal", "connect_fee", "usf_fee", "ccrf", "cnam_lookup_fee")
#: Text that recurs. As dictionaries they are read and grouped in half the time.
TEXT = ("direction", "destination_name", "number_alias", "result", "call_fail_sip_code", "call_fail_reason")
COLUMNS = ("start_time", "total_cost", "billed_duration", *TEXT, *FEES)
FORMAT = ds.ParquetFileFormat(dictionary_columns=list(TEXT))
SCHEMA = pa.schema(
    field.with_type(pa.dictionary(pa.int32(), field.type)) if field.name in TEXT else field
    for field in schema_of(COLUMNS)
)
#: Calls begin in a slot. Each offset of a time zone is a multiple of it, so a slot belongs to one local hour.
SLOT = timedelta(minutes=15)
#: Row groups that are read ahead of their use.
_READ_AHEAD = 4
#: Rows of partial sums that are kept before they are added up.
_PARTIAL_ROWS = 1 << 18
_FIGURES = ("calls", "total_cost", "billed_duration")


class _GroupedSums:
    """Sums of columns for each combination of keys.

    :param keys: the columns that form a group.
    :param sums: the columns to add up.
    """

    def __init__(self, keys: Sequence[str], sums: Sequence[str]) -> None:
        self._keys = list(keys)
        self._sums = list(sums)
        self._partial: list[pa.Table] = []
        self._rows = 0

    def add(self, table: pa.Table) -> None:
        """Add the rows of a table."""
        part = self._group(table)
        # Each batch has its own dictionary, so the texts themselves are kept.
        for index, column in enumerate(part.columns):
            if pa.types.is_dictionary(column.type):
                part = part.set_column(index, part.column_names[index], column.cast(pa.string()))
        self._partial.append(part)
        self._rows += part.num_rows
        if self._rows > _PARTIAL_ROWS:
            self._partial = [self._group(pa.concat_tables(self._partial))]
            self._rows = self._partial[0].num_rows

    def _group(self, table: pa.Table) -> pa.Table:
        grouped = table.group_by(self._keys, use_threads=False).aggregate(
            [(name, "sum") for name in self._sums]
        )
        return grouped.select([*self._keys, *(f"{name}_sum" for name in self._sums)]).rename_columns(
            [*self._keys, *self._sums]
        )

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield a row for each group. A sum without a value is None."""
        if self._partial:
            yield from self._group(pa.concat_tables(self._partial)).to_pylist()


@dataclass
class Sums:
    """The sums of the calls of a period.

    :param days: by day and direction.
    :param hours: by weekday (0 is Monday) and hour.
    :param destinations: by day, direction and ``destination_name``.
    :param aliases: by direction and ``number_alias``.
    :param failures: calls by SIP code and reason phrase.
    :param fees: US dollars by column.
    """

    days: dict[tuple[date, str], Figures] = field(default_factory=lambda: defaultdict(Figures))
    hours: dict[tuple[int, int], Figures] = field(default_factory=lambda: defaultdict(Figures))
    destinations: dict[tuple[date, str, str], Figures] = field(default_factory=lambda: defaultdict(Figures))
    aliases: dict[tuple[str, str], Figures] = field(default_factory=lambda: defaultdict(Figures))
    failures: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    fees: dict[str, Decimal] = field(default_factory=lambda: dict.fromkeys(FEES, Decimal(0)))


class LocalSlots:
    """The local day and hour of each slot of a period.

    :param start: a midnight of the zone.
    :param end: a later midnight of the zone.
    """

    def __init__(self, start: datetime, end: datetime) -> None:
        zone = start.tzinfo
        self.start = start.astimezone(UTC)
        self.dates: list[date] = []
        days, hours = [], []
        for number in range((end.astimezone(UTC) - self.start) // SLOT):
            local = (self.start + number * SLOT).astimezone(zone)
            if not self.dates or local.date() != self.dates[-1]:
                self.dates.append(local.date())
            days.append(len(self.dates) - 1)
            hours.append(local.weekday() * 24 + local.hour)
        self._days, self._hours = np.array(days, np.int32), np.array(hours, np.int32)

    def add_columns(self, table: pa.Table) -> pa.Table:
        """Add the columns ``day`` and ``hour`` to a table.

        :param table: with a ``start_time`` that is in the period.
        """
        starts = table.column("start_time").cast(pa.int64()).to_numpy()
        slots = (starts - int(self.start.timestamp()) * 1_000_000) // (SLOT // timedelta(microseconds=1))
        for name, values in (("day", self._days), ("hour", self._hours)):
            table = table.append_column(name, pa.array(values[slots]))
        return table


def add_up_calls(fragments: Iterable[ds.ParquetFileFragment], start: datetime, end: datetime) -> Sums:
    """Add up the calls that start in a period.

    :param fragments: files of :data:`FORMAT` with :data:`COLUMNS`.
    :param start: a midnight of the zone whose days are counted.
    :param end: a later midnight of that zone.
    """
    slots = LocalSlots(start, end)
    by_hour = _GroupedSums(["day", "hour", "direction"], [*_FIGURES, *FEES])
    by_destination = _GroupedSums(["day", "direction", "destination_name"], _FIGURES)
    by_alias = _GroupedSums(["direction", "number_alias"], _FIGURES)
    by_code = _GroupedSums(["call_fail_sip_code", "call_fail_reason"], ["calls"])
    for table in _tables(fragments, start, end):
        table = slots.add_columns(table)
        table = table.append_column("calls", pa.array(np.ones(len(table), np.int64)))
        for grouped in (by_hour, by_destination, by_alias):
            grouped.add(table)
        by_code.add(table.filter(pc.not_equal(table.column("result"), "completed")))
    sums = Sums()
    for row in by_hour.rows():
        figures, direction = _figures(row), _direction(row)
        sums.days[slots.dates[row["day"]], direction] += figures
        sums.hours[divmod(row["hour"], 24)] += figures
        for name in FEES:
            sums.fees[name] += row[name] or 0
    for row in by_destination.rows():
        key = slots.dates[row["day"]], _direction(row), row["destination_name"] or ""
        sums.destinations[key] += _figures(row)
    for row in by_alias.rows():
        sums.aliases[_direction(row), row["number_alias"] or ""] += _figures(row)
    for row in by_code.rows():
        sums.failures[row["call_fail_sip_code"] or "", row["call_fail_reason"] or ""] += row["calls"]
    return sums


def _tables(
    fragments: Iterable[ds.ParquetFileFragment], start: datetime, end: datetime
) -> Iterator[pa.Table]:
    """Read the calls of a period, a row group at a time. A scanner of a dataset would hold hundreds of MB."""
    begins = ds.field("start_time")
    first, last = (
        pa.scalar(instant.astimezone(UTC), SCHEMA.field("start_time").type) for instant in (start, end)
    )
    selected = (begins >= first) & (begins < last)

    def read(row_group: ds.ParquetFileFragment) -> pa.Table:
        return row_group.to_table(schema=SCHEMA, columns=list(COLUMNS), filter=selected)

    row_groups = chain.from_iterable(
        fragment.split_by_row_group(selected, schema=SCHEMA) for fragment in fragments
    )
    with threaded_map(read, row_groups, _READ_AHEAD, threads=_READ_AHEAD) as tables:
        yield from tables


def _direction(row: dict[str, Any]) -> str:
    # Files have both "Outbound" and "outbound".
    return (row["direction"] or "unknown").lower()


def _figures(row: dict[str, Any]) -> Figures:
    return Figures(row["calls"], row["total_cost"] or Decimal(0), row["billed_duration"] or 0)
