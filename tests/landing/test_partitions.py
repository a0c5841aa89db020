"""One export becomes one file for each day of a time zone, and no row is lost or duplicated."""

from __future__ import annotations

import gzip
import random
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow.parquet as pq
import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_flowroute.cdr.export import CdrExport
from airflow_provider_flowroute.cdr.window import Window, format_instant, zone_of
from airflow_provider_flowroute.exceptions import CdrExportIntegrityError, FlowrouteValueError
from airflow_provider_flowroute.landing import arrow
from airflow_provider_flowroute.landing.footer import read_footer
from airflow_provider_flowroute.landing.partitions import DayFile, days_of, stage_days
from airflow_provider_flowroute.landing.reconciliation import Reconciliation, Totals

from .test_pipeline import Download

NEW_YORK = "America/New_York"
HEADER = "direction,start_time,destination,callerid,total_cost,billed_duration,cdr_id"


def midnight(zone: str, *day: int) -> datetime:
    return datetime(*day, tzinfo=ZoneInfo(zone))  # type: ignore[misc, arg-type]


def an_export(start: datetime, end: datetime, rows: int = 0, **attributes: Any) -> CdrExport:
    parameters = {"start_call_start_time": format_instant(start), "start_call_end_time": format_instant(end)}
    reported = {"status": "completed", "num_calls": rows, "total_cost": f"{rows * 1e-6:.6f}"}
    return CdrExport.from_resource(
        {"id": "7", "attributes": {**reported, "filter_parameters": parameters, **attributes}}
    )


def a_line(started: datetime | None, number: int) -> str:
    start = f"{started.astimezone(UTC):%Y-%m-%d %H:%M:%S}+00" if started else ""
    return f"Inbound,{start},1,2,0.000001,6,id-{number}"


def stage(
    export: CdrExport, starts: list[datetime | None], directory: Path, timezone: str = "UTC"
) -> tuple[Reconciliation, list[DayFile]]:
    lines = [HEADER, *(a_line(start, number) for number, start in enumerate(starts)), ""]
    download: Any = Download(gzip.compress("\n".join(lines).encode()))
    return stage_days(export, download, directory, days_of(export, timezone))


def rows_of(file: DayFile) -> list[tuple[datetime, str]]:
    table = pq.read_table(file.path)
    return list(zip(table.column("start_time").to_pylist(), table.column("cdr_id").to_pylist(), strict=True))


@pytest.mark.parametrize(
    ("timezone", "first", "last"),
    [
        ("UTC", (2026, 10, 1), (2026, 12, 31)),
        (NEW_YORK, (2026, 3, 6), (2026, 3, 11)),  # 23 hours on 8 March
        (NEW_YORK, (2026, 10, 30), (2026, 11, 4)),  # 25 hours on 1 November
        ("America/Sao_Paulo", (2018, 11, 2), (2018, 11, 7)),  # no midnight on 4 November
        ("Australia/Lord_Howe", (2026, 4, 3), (2026, 4, 8)),  # half an hour more on 5 April
    ],
)
@pytest.mark.parametrize("order", ["sorted", "shuffled"])
def test_each_row_is_in_the_file_of_its_day(tmp_path, monkeypatch, timezone, first, last, order):
    monkeypatch.setattr(arrow, "BLOCK_BYTES", 3000)
    monkeypatch.setattr(arrow, "ROW_GROUP_ROWS", 100)
    window = Window(midnight(timezone, *first), midnight(timezone, *last))
    dice = random.Random(1)
    seconds = int((window.end - window.start).total_seconds())
    starts = [window.start + timedelta(seconds=dice.randrange(seconds)) for _ in range(1500)]
    starts += [day.start for day in days_of(an_export(window.start, window.end), timezone).values()]
    starts = sorted(starts) if order == "sorted" else dice.sample(starts, len(starts))
    expected = defaultdict(list)
    for number, start in enumerate(starts):
        expected[start.astimezone(ZoneInfo(timezone)).date()].append((start, f"id-{number}"))

    result, files = stage(an_export(window.start, window.end, len(starts)), starts, tmp_path, timezone)

    assert {file.day: rows_of(file) for file in files} == expected
    assert (result.mismatches, result.unassigned, result.totals.rows) == ([], 0, len(starts))
    assert sum((file.totals for file in files[1:]), files[0].totals) == result.totals
    assert sorted(tmp_path.iterdir()) == [file.path for file in files]


def test_days_are_23_and_25_hours_long_when_clocks_change():
    spring = days_of(an_export(midnight(NEW_YORK, 2026, 3, 8), midnight(NEW_YORK, 2026, 3, 10)), NEW_YORK)
    autumn = days_of(an_export(midnight(NEW_YORK, 2026, 11, 1), midnight(NEW_YORK, 2026, 11, 2)), NEW_YORK)

    assert spring == {
        date(2026, 3, 8): Window("2026-03-08 05:00:00", "2026-03-09 04:00:00"),
        date(2026, 3, 9): Window("2026-03-09 04:00:00", "2026-03-10 04:00:00"),
    }
    assert autumn == {date(2026, 11, 1): Window("2026-11-01 04:00:00", "2026-11-02 05:00:00")}


def test_a_day_that_a_zone_left_out_has_no_file():
    """Samoa went from 29 to 31 December 2011."""
    zone = "Pacific/Apia"

    days = days_of(an_export(midnight(zone, 2011, 12, 29), midnight(zone, 2012, 1, 1)), zone)

    assert list(days) == [date(2011, 12, 29), date(2011, 12, 31)]


def test_every_day_has_a_file_with_its_own_footer(tmp_path):
    start, end = midnight("UTC", 2026, 11, 1), midnight("UTC", 2026, 11, 4)
    export = an_export(start, end, 3)

    result, files = stage(export, [start, start + timedelta(days=2, hours=1), start], tmp_path)

    assert [(file.day.day, file.totals.rows) for file in files] == [(1, 2), (2, 0), (3, 1)]
    for file in files:
        footer = read_footer(ObjectStoragePath(f"file://{file.path}"))
        assert footer is not None
        assert (footer.window, footer.totals, footer.export_id) == (file.window, file.totals, "7")
        assert footer.export_window == Window(start, end)
        assert footer.checks == result.as_json()
    assert files[1].totals == Totals(fees=dict.fromkeys(files[1].totals.fees))
    assert files[2].totals.total_cost == Decimal("0.000001")
    assert pq.read_schema(files[1].path) == pq.read_schema(files[0].path)


def test_a_file_without_rows_is_one_empty_file_for_each_day(tmp_path):
    export = an_export(midnight("UTC", 2026, 11, 1), midnight("UTC", 2026, 11, 3), total_cost="0.0")

    result, files = stage(export, [], tmp_path)

    assert result.mismatches == []
    assert [file.totals.rows for file in files] == [0, 0]


def test_rows_outside_the_window_are_counted_and_in_no_file(tmp_path):
    start, end = midnight("UTC", 2026, 11, 1), midnight("UTC", 2026, 11, 2)
    starts = [start, start - timedelta(seconds=1), end, None, end - timedelta(seconds=1)]

    result, [file] = stage(an_export(start, end, 5), starts, tmp_path)

    assert [cdr_id for _, cdr_id in rows_of(file)] == ["id-0", "id-4"]
    assert result.unassigned == 3
    assert [check.name for check in result.mismatches] == ["start_time"]
    assert result.totals.rows == 5


def test_duplicates_are_found_across_days_and_in_each_footer(tmp_path):
    start, end = midnight("UTC", 2026, 11, 1), midnight("UTC", 2026, 11, 3)
    lines = [HEADER, a_line(start, 1), a_line(start + timedelta(days=1), 1), ""]

    export = an_export(start, end, 2)
    result, files = stage_days(
        export,
        Download(gzip.compress("\n".join(lines).encode())),  # type: ignore[arg-type]
        tmp_path,
        days_of(export, "UTC"),
    )

    assert [str(check) for check in result.mismatches] == [
        "cdr_id 1, expected 0 (failed: duplicates of id-1)"
    ]
    footers = [read_footer(ObjectStoragePath(f"file://{file.path}")) for file in files]
    assert [(footer.reconciled, footer.window, footer.totals.rows) for footer in footers if footer] == [
        (False, file.window, 1) for file in files
    ]


def test_a_damaged_file_leaves_no_complete_file(tmp_path):
    start = midnight("UTC", 2026, 11, 1)
    packed = gzip.compress("\n".join([HEADER, *(a_line(start, number) for number in range(99))]).encode())

    export = an_export(start, start + timedelta(days=1), 99)
    with pytest.raises(CdrExportIntegrityError):
        stage_days(
            export,
            Download(packed[:-9]),  # type: ignore[arg-type]
            tmp_path,
            days_of(export, "UTC"),
        )

    assert list(tmp_path.glob("*.part")) == []


@pytest.mark.parametrize(
    ("timezone", "start", "end"),
    [
        ("UTC", "2026-11-01 00:00:00", "2026-11-02 01:00:00"),
        ("UTC", "2026-10-31 23:00:00", "2026-11-02 00:00:00"),
        (NEW_YORK, "2026-11-01 00:00:00", "2026-11-02 00:00:00"),
        (NEW_YORK, "2026-11-01 04:00:00", "2026-11-02 04:00:00"),  # 24 hours of a day with 25
    ],
)
def test_a_window_of_incomplete_days_is_refused_with_the_right_one(timezone, start, end):
    export = an_export(*(datetime.fromisoformat(f"{text}+00:00") for text in (start, end)))

    with pytest.raises(FlowrouteValueError, match=f"does not hold complete days in {timezone}") as caught:
        days_of(export, timezone)

    assert str(Window(start, end)) in str(caught.value)
    assert ("2026-11-01T00:00:00-04:00" in str(caught.value)) == (start == "2026-11-01 04:00:00")


def test_an_export_without_a_window_cannot_be_divided():
    export = CdrExport.from_resource({"id": "7", "attributes": {"status": "completed"}})

    with pytest.raises(FlowrouteValueError, match="did not report its window"):
        days_of(export, "UTC")


@pytest.mark.parametrize("name", ["Mars/Phobos", "", "America", "../UTC", "/etc/localtime", None, 5])
def test_an_unknown_time_zone_is_an_error_with_an_example(name):
    with pytest.raises(FlowrouteValueError, match=r"timezone is .*\n.*\nUse a name such as 'UTC'"):
        zone_of(name)
