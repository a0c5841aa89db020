"""Landed files of simulated calls, for reports: written by the landing itself, without HTTP."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from airflow_provider_flowroute.cdr.export import CdrExport
from airflow_provider_flowroute.landing.pipeline import stage
from airflow_provider_flowroute.simulator.calls import COLUMNS, Call, generate_calls
from airflow_provider_flowroute.simulator.result_file import write_file

DAY = timedelta(days=1)


class Download(io.BytesIO):
    """A download whose bytes are already here."""

    position = 0
    total = None


def utc(day: date) -> datetime:
    """Return the UTC midnight of a day."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def land(
    path: Path, calls: Iterable[Call], start: datetime, end: datetime, **reported: Any
) -> list[dict[str, str]]:
    """Land calls as a Parquet file.

    :param path: the file.
    :param calls: their start is in the window.
    :param start: of the window.
    :param end: of the window.
    :param reported: figures of Flowroute that differ from the file, such as ``num_calls``.
    :return: the rows of the file.
    """
    calls = list(calls)
    file = write_file(calls, COLUMNS)
    attributes = {
        "status": "completed",
        "num_calls": len(calls),
        "total_cost": f"{file.totals.money['total_cost']:f}",
        "filter_parameters": {
            "start_call_start_time": start.isoformat(),
            "start_call_end_time": end.isoformat(),
        },
        **reported,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    download: Any = Download(file.content)
    stage(CdrExport.from_resource({"id": "7", "attributes": attributes}), download, path, "parquet")
    return [call.row for call in calls]


def call_at(started: datetime, **fields: str) -> Call:
    """Return a call that starts at a time, with some fields set."""
    call = _any_call()
    times = {"cdr_id": str(uuid4())} | {
        name: f"{started.astimezone(UTC):%Y-%m-%d %H:%M:%S}+00" for name in ("start_time", "end_time")
    }
    return replace(call, row=call.row | times | fields, started=started, ended=started)


@cache
def _any_call() -> Call:
    return next(generate_calls(1, 500, utc(date(2026, 3, 2)), utc(date(2026, 3, 3)), utc(date(2026, 4, 1))))


def day_file(lake: Path, day: date) -> Path:
    """Return the file of a day."""
    return lake / f"date={day}" / "cdrs.parquet"


def days_of(start: date, end: date) -> Iterator[date]:
    """Yield the days from ``start`` to the day before ``end``."""
    for number in range((end - start).days):
        yield start + number * DAY


def land_days(lake: Path, start: date, end: date, calls_per_day: float = 100) -> list[dict[str, str]]:
    """Land a file for each UTC day.

    :param lake: the folder.
    :return: all rows.
    """
    rows = []
    for day in days_of(start, end):
        calls = generate_calls(1, calls_per_day, utc(day), utc(day) + DAY, utc(end) + DAY)
        rows += land(day_file(lake, day), calls, utc(day), utc(day) + DAY)
    return rows


def toll_fraud(night: datetime, count: int = 60) -> list[Call]:
    """Return calls to Cuba in one night, as after the theft of a SIP password."""
    fields = {
        "direction": "Outbound",
        "destination": "5370001234",
        "destination_name": "CUBA",
        "result": "completed",
        "call_fail_sip_code": "200",
        "call_fail_reason": "OK",
        "duration": "240",
        "billed_duration": "240",
        "rate": "0.910000",
        "cost_subtotal": "3.64000000",
        "connect_fee": "0.0100",
        "usf_fee": "0.00000000",
        "ccrf": "0.00000000",
        "cnam_lookup_fee": "0.00000000",
        "total_cost": "3.65000000",
    }
    return [call_at(night + number * timedelta(minutes=3), **fields) for number in range(count)]


def land_year(lake: Path, year: int, calls_per_day: float) -> None:
    """Land a year with what can go wrong: missing, partial and double days, mismatches, toll fraud.

    :param lake: the folder.
    :param year: the year.
    :param calls_per_day: the mean number of calls in a day.
    """
    start, end = date(year, 1, 1), date(year + 1, 1, 1)
    land_days(lake, start, end, calls_per_day)
    for month, day in ((2, 9), (8, 15), (8, 16)):
        day_file(lake, date(year, month, day)).unlink()
    for fraud in (date(year, 5, 23), date(year, 10, 4)):
        calls = [*toll_fraud(utc(fraud) + timedelta(hours=3), count=12), *_calls_of(fraud, calls_per_day)]
        land(day_file(lake, fraud), calls, utc(fraud), utc(fraud) + DAY)
    mismatch = date(year, 6, 18)
    land(
        day_file(lake, mismatch),
        _calls_of(mismatch, calls_per_day),
        utc(mismatch),
        utc(mismatch) + DAY,
        num_calls=1,
    )
    half = date(year, 11, 11)
    until = utc(half) + timedelta(hours=15)
    calls = [call for call in _calls_of(half, calls_per_day) if call.started < until]
    land(day_file(lake, half), calls, utc(half), until)
    twice = date(year, 12, 2)
    land(lake / "again.parquet", _calls_of(twice, calls_per_day), utc(twice), utc(twice) + DAY)


def _calls_of(day: date, calls_per_day: float) -> list[Call]:
    return list(generate_calls(1, calls_per_day, utc(day), utc(day) + DAY, utc(day) + 3 * DAY))


def cost_of(rows: Iterable[dict[str, str]]) -> Decimal:
    """Return the exact cost of rows."""
    return sum((Decimal(row["total_cost"]) for row in rows), Decimal(0))
