"""The figures of a report, compared with sums of the rows in plain Python."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from airflow_provider_flowroute.cdr.window import midnight
from airflow_provider_flowroute.report.aggregate import LocalSlots
from airflow_provider_flowroute.report.data import Figures, ReportData
from airflow_provider_flowroute.report.write import read_report_data

from .conftest import Lake
from .lake import call_at, cost_of, land, utc

LOS_ANGELES = ZoneInfo("America/Los_Angeles")
MARCH = (date(2026, 3, 1), date(2026, 4, 1))


def figures_by(rows: list[dict[str, str]], key: Callable[[dict[str, str]], object]) -> dict[object, Figures]:
    """Add up rows by a key, as a spreadsheet would."""
    sums: dict[object, Figures] = defaultdict(Figures)
    for row in rows:
        sums[key(row)] += Figures(1, Decimal(row["total_cost"]), int(row["billed_duration"]))
    return sums


def started(row: dict[str, str], zone: ZoneInfo) -> datetime:
    return datetime.fromisoformat(f"{row['start_time']}:00").astimezone(zone)


@pytest.fixture(scope="module")
def local(march: Lake) -> ReportData:
    """The report of March in Los Angeles."""
    return read_report_data([march.path], *MARCH, "America/Los_Angeles")


@pytest.fixture(scope="module")
def rows(march: Lake) -> list[dict[str, str]]:
    """The rows that start in March in Los Angeles."""
    return [row for row in march.rows if MARCH[0] <= started(row, LOS_ANGELES).date() < MARCH[1]]


def test_totals_are_the_exact_sums_of_the_rows(local, rows):
    assert local.totals == Figures(len(rows), cost_of(rows), sum(int(row["billed_duration"]) for row in rows))
    assert local.totals.cost == local.totals.cost.quantize(Decimal("1e-8"))


def test_calls_belong_to_the_local_day_of_their_start(local, rows):
    expected = figures_by(rows, lambda row: (started(row, LOS_ANGELES).date(), row["direction"].lower()))

    assert {
        (day.date, direction): figures for day in local.days for direction, figures in day.figures.items()
    } == expected


def test_calls_belong_to_the_local_hour_of_the_week(local, rows):
    def hour_of(row: dict[str, str]) -> tuple[int, int]:
        local_start = started(row, LOS_ANGELES)
        return local_start.weekday(), local_start.hour

    assert local.hours == figures_by(rows, hour_of)


def test_destinations_and_aliases_are_most_expensive_first(local, rows):
    for groups, column in ((local.destinations, "destination_name"), (local.aliases, "number_alias")):
        assert {group.name: group.total for group in groups} == figures_by(rows, lambda row: row[column])  # noqa: B023
        costs = [group.total.cost for group in groups]
        assert costs == sorted(costs, reverse=True)
    assert "" in {group.name for group in local.aliases}


def test_failed_calls_are_counted_by_sip_code(local, rows):
    failed = [row for row in rows if row["result"] != "completed"]

    assert Counter({(item.code, item.reason): item.calls for item in local.failures}) == Counter(
        (row["call_fail_sip_code"], row["call_fail_reason"]) for row in failed
    )
    assert local.failures[0].code == "487"


def test_fees_add_up_to_the_cost(local, rows):
    assert local.fees == {name: sum(Decimal(row[name]) for row in rows) for name in local.fees}
    assert sum(local.fees.values()) == local.totals.cost


def test_both_spellings_of_a_direction_are_one_direction(local):
    assert set(local.directions) == {"outbound", "inbound"}


@pytest.mark.parametrize(
    ("day", "hours"), [(date(2026, 3, 8), 23), (date(2026, 11, 1), 25), (date(2026, 3, 9), 24)]
)
def test_a_day_is_as_long_as_the_clocks_say(tmp_path: Path, day: date, hours: int):
    """Calls at the first and the last second of the day belong to it; their neighbours do not."""
    start, end = (midnight(day + timedelta(days=more), LOS_ANGELES).astimezone(UTC) for more in (0, 1))
    second = timedelta(seconds=1)
    calls = [call_at(start - second), call_at(start), call_at(end - second), call_at(end)]
    land(tmp_path / "cdrs.parquet", calls, start - second, end + second)

    [only] = read_report_data([tmp_path], day, day + timedelta(days=1), "America/Los_Angeles").days

    assert (only.date, only.hours, only.total.calls) == (day, hours, 2)


def test_the_repeated_hour_counts_twice(tmp_path: Path):
    """At 02:00 on 2026-11-01 the clocks of Los Angeles go back to 01:00."""
    night = datetime(2026, 11, 1, 8, 30, tzinfo=UTC)
    calls = [call_at(night), call_at(night + timedelta(hours=1)), call_at(night + timedelta(hours=2))]
    land(tmp_path / "cdrs.parquet", calls, utc(date(2026, 11, 1)), utc(date(2026, 11, 3)))

    data = read_report_data([tmp_path], date(2026, 11, 1), date(2026, 11, 2), "America/Los_Angeles")

    assert {hour: figures.calls for hour, figures in data.hours.items()} == {(6, 1): 2, (6, 2): 1}


def test_slots_follow_zones_with_a_quarter_of_an_hour():
    zone = ZoneInfo("Asia/Kathmandu")  # UTC+05:45
    slots = LocalSlots(*(midnight(date(2026, 7, day), zone).astimezone(zone) for day in (1, 3)))

    assert slots.dates == [date(2026, 7, 1), date(2026, 7, 2)]
    assert slots.start == datetime(2026, 6, 30, 18, 15, tzinfo=UTC)


def test_a_day_without_a_midnight_begins_at_one():
    zone = ZoneInfo("America/Sao_Paulo")
    first = midnight(date(2017, 10, 15), zone).astimezone(zone)

    assert (first.date(), first.hour) == (date(2017, 10, 15), 1)


def test_files_are_read_once_however_they_are_named(march):
    once = read_report_data([march.path], *MARCH, "UTC")
    several = [march.path, f"{march.path}/date=2026-03-0*", f"{march.path}/date=2026-03-05/cdrs.parquet"]

    again = read_report_data(several, *MARCH, "UTC")

    assert once.files == again.files == 31
    assert (
        once.totals
        == again.totals
        == Figures(
            len(march.rows), cost_of(march.rows), sum(int(row["billed_duration"]) for row in march.rows)
        )
    )


def test_the_period_is_that_of_the_footers_by_default(march):
    utc_days = read_report_data([march.path], None, None, "UTC")
    local_days = read_report_data([march.path], None, None, "America/Los_Angeles")

    assert (utc_days.start, utc_days.end) == MARCH
    assert (local_days.start, local_days.end) == (date(2026, 2, 28), MARCH[1])
    assert local_days.totals == utc_days.totals


def test_one_file_of_many_days_gives_the_same_figures(tmp_path: Path, march: Lake):
    calls = [
        call_at(
            started(row, ZoneInfo("UTC")), **{name: row[name] for name in row if not name.endswith("_time")}
        )
        for row in march.rows
    ]
    land(tmp_path / "march.parquet", calls, utc(MARCH[0]), utc(MARCH[1]))

    window, days = (
        read_report_data([path], *MARCH, "UTC") for path in (tmp_path / "march.parquet", march.path)
    )

    assert window.days == days.days
    assert (window.destinations, window.aliases, window.hours) == (
        days.destinations,
        days.aliases,
        days.hours,
    )
