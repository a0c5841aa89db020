"""The state of each day, from the footers of the landed files."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from airflow_provider_flowroute.report.data import DayState, Figures
from airflow_provider_flowroute.report.write import read_report_data

from .lake import DAY, call_at, land, utc

FIRST = date(2026, 7, 1)
START = utc(FIRST)
HOUR = timedelta(hours=1)


def states(lake: Path, days: int = 1, zone: str = "UTC") -> list[DayState]:
    return [day.state for day in read_report_data([lake], FIRST, FIRST + days * DAY, zone).days]


def test_a_day_is_complete_if_its_file_was_reconciled(tmp_path):
    land(tmp_path / "a.parquet", [call_at(START)], START, START + DAY)

    assert states(tmp_path) == [DayState.COMPLETE]


def test_a_day_of_several_files_is_complete_if_they_are_adjacent(tmp_path):
    for hour in range(0, 24, 8):
        land(tmp_path / f"{hour}.parquet", [], START + hour * HOUR, START + (hour + 8) * HOUR)

    assert states(tmp_path) == [DayState.COMPLETE]


def test_a_day_without_a_file_is_missing(tmp_path):
    land(tmp_path / "a.parquet", [], START, START + DAY)
    land(tmp_path / "c.parquet", [], START + 2 * DAY, START + 3 * DAY)

    assert states(tmp_path, 4) == [DayState.COMPLETE, DayState.MISSING, DayState.COMPLETE, DayState.MISSING]


def test_a_failed_check_makes_all_days_of_the_file_a_mismatch(tmp_path):
    land(tmp_path / "a.parquet", [call_at(START)], START, START + 2 * DAY, num_calls=2)

    assert states(tmp_path, 3) == [DayState.MISMATCH, DayState.MISMATCH, DayState.MISSING]


def test_a_skipped_check_is_not_a_reconciliation(tmp_path):
    land(tmp_path / "a.parquet", [call_at(START)], START, START + DAY, total_cost=None)

    assert states(tmp_path) == [DayState.UNCHECKED]


def test_a_gap_inside_a_day_makes_it_partly_landed(tmp_path):
    land(tmp_path / "a.parquet", [], START, START + 8 * HOUR)
    land(tmp_path / "b.parquet", [], START + 9 * HOUR, START + DAY)

    assert states(tmp_path) == [DayState.PARTIAL]


def test_utc_files_cover_only_a_part_of_the_last_local_day(tmp_path):
    land(tmp_path / "a.parquet", [], START, START + 2 * DAY)

    assert states(tmp_path, 2, "America/Los_Angeles") == [DayState.COMPLETE, DayState.PARTIAL]


def test_a_day_in_two_files_is_an_overlap(tmp_path):
    """Its calls are counted twice, so it is no day to compare with."""
    land(tmp_path / "day.parquet", [call_at(START)], START, START + DAY)
    land(tmp_path / "month.parquet", [call_at(START)], START, START + 31 * DAY)

    first, second = read_report_data([tmp_path], FIRST, FIRST + 2 * DAY, "UTC").days

    assert (first.state, first.total.calls, first.has_all_calls) == (DayState.OVERLAP, 2, False)
    assert (second.state, second.total) == (DayState.COMPLETE, Figures())


def test_a_period_without_files_is_missing():
    data = read_report_data([], FIRST, FIRST + 2 * DAY, "UTC")

    assert [day.state for day in data.days] == [DayState.MISSING] * 2
    assert (data.files, data.totals) == (0, Figures())


def test_files_outside_the_period_are_not_counted(tmp_path):
    land(tmp_path / "june.parquet", [], START - DAY, START)
    land(tmp_path / "july.parquet", [], START, START + DAY)

    data = read_report_data([tmp_path], datetime(2026, 7, 1, tzinfo=UTC), "2026-07-02", "UTC")

    assert (data.files, data.incomplete_days) == (1, [])


def test_a_day_that_a_zone_left_out_is_not_missing(tmp_path):
    """Samoa had no 2011-12-30."""
    data = read_report_data([], "2011-12-29", "2012-01-01", "Pacific/Apia")

    assert [(day.date.day, day.hours) for day in data.days] == [(29, 24), (31, 24)]
