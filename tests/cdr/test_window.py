"""Which calls a window selects, and that adjacent windows have no gap and no overlap."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_flowroute.cdr.window import MAX_DAYS, Window, format_instant, parse_instant
from airflow_provider_flowroute.exceptions import FlowrouteValueError

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 11, 23, tzinfo=UTC)

instants = st.datetimes(
    min_value=datetime(1990, 1, 1),  # noqa: DTZ001
    max_value=datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.timezones() | st.just(UTC),
)


@pytest.mark.parametrize(
    "written",
    [
        pytest.param(MIDNIGHT, id="aware"),
        pytest.param(MIDNIGHT.replace(tzinfo=None), id="no time zone means UTC"),
        pytest.param(date(2026, 11, 23), id="a date is its midnight"),
        pytest.param(pendulum.datetime(2026, 11, 23), id="pendulum"),
        pytest.param(
            pendulum.datetime(2026, 11, 22, 19, tz="America/New_York"), id="pendulum in another time zone"
        ),
        pytest.param(datetime(2026, 11, 23, 3, tzinfo=timezone(timedelta(hours=3))), id="an offset"),
        pytest.param("2026-11-23 00:00:00", id="Flowroute's format"),
        pytest.param("2026-11-23", id="a date as text"),
        pytest.param("2026-11-23T00:00:00Z", id="ISO with Z"),
        pytest.param("2026-11-23 00:00:00+00:00", id="as Airflow renders it"),
        pytest.param("2026-11-23 03:00:00+03:00", id="text with an offset"),
        pytest.param("2026-11-22T17:30:00-06:30", id="text with an offset of half an hour"),
        pytest.param("2026-11-23T00:00:00.999999+00:00", id="fractions are rounded down"),
        pytest.param(" 2026-11-23 00:00:00\n", id="space around it"),
    ],
)
def test_every_format_of_a_time_gives_the_same_second_in_utc(written: Any):
    instant = parse_instant(written, "start")

    assert instant == MIDNIGHT
    assert instant.tzinfo is UTC
    assert type(instant) is datetime
    assert format_instant(instant) == "2026-11-23 00:00:00"


@pytest.mark.parametrize(
    "written",
    [
        "None",
        "",
        "yesterday",
        "{{ data_interval_start }}",
        "23.11.2026",
        None,
        1795392000,
        1.5,
        ["2026-11-23"],
    ],
)
def test_invalid_time_is_rejected_with_its_name_and_value(written: Any):
    with pytest.raises(FlowrouteValueError) as caught:
        parse_instant(written, "start_call_start_time")

    first, second, third = str(caught.value).splitlines()
    assert first.startswith("start_call_start_time ")
    assert second.startswith(f"It is {written!r}")
    assert "ISO 8601" in third


def test_error_for_rendered_text_mentions_the_template():
    with pytest.raises(
        FlowrouteValueError, match="If it comes from a template, the template rendered to this text"
    ):
        Window("None", "2026-11-24")  # type: ignore[arg-type]


@pytest.mark.parametrize("written", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_time_outside_the_calendar_is_rejected(written: str):
    with pytest.raises(FlowrouteValueError, match="start is outside the calendar"):
        parse_instant(written, "start")


@given(instants)
def test_formatted_time_is_parsed_to_the_same_time(instant: datetime):
    read = parse_instant(instant, "start")

    assert parse_instant(format_instant(read), "start") == read
    assert parse_instant(read.isoformat(), "start") == read
    assert timedelta(0) <= instant - read < timedelta(seconds=1)


@given(st.lists(instants, min_size=3, max_size=3, unique=True))
def test_adjacent_windows_are_contiguous_also_with_fractions(three: list[datetime]):
    first, middle, last = sorted(three)
    rounded = [parse_instant(instant, "end") for instant in (first, middle, last)]
    if len(set(rounded)) < 3:
        return  # within one second: an empty window, which is rejected

    early, late = Window(first, middle), Window(str(middle), last.isoformat())  # type: ignore[arg-type]

    assert early.end == late.start
    assert (early.start, late.end) == (rounded[0], rounded[2])


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-11-23 00:00:00", "2026-11-23 00:00:00"),
        ("2026-11-23 00:00:00", "2026-11-22 23:59:59"),
        ("2026-11-23 00:00:00.1", "2026-11-23 00:00:00.9"),
        ("2026-11-23 03:00:00+03:00", "2026-11-23 00:00:00Z"),
    ],
)
def test_empty_window_is_rejected_with_both_ends(start: Any, end: Any):
    with pytest.raises(FlowrouteValueError, match="The window is empty") as caught:
        Window(start, end)

    assert "starts at 2026-11-23 00:00:00" in str(caught.value)
    assert f"ends at {format_instant(parse_instant(end, 'end'))} UTC" in str(caught.value)


@pytest.mark.parametrize(
    ("start", "end", "named"),
    [("None", "2026-11-23", "start_call_start_time"), ("2026-11-23", "soon", "start_call_end_time")],
)
def test_error_names_the_invalid_end_of_a_window(start: Any, end: Any, named: str):
    with pytest.raises(FlowrouteValueError, match=f"{named} is not a date and time"):
        Window(start, end)


def test_window_can_end_now_but_not_later():
    Window(MIDNIGHT, NOW).check_exportable(NOW)

    with pytest.raises(FlowrouteValueError, match="ends in the future") as caught:
        Window(MIDNIGHT, NOW + timedelta(seconds=1)).check_exportable(NOW)
    assert "2026-11-23 00:00:00 .. 2026-11-24 12:00:01 UTC" in str(caught.value)
    assert "It is 2026-11-24 12:00:00 UTC" in str(caught.value)


def test_window_is_at_most_92_days_long():
    start = NOW - timedelta(days=200)
    Window(start, start + timedelta(days=92)).check_exportable(NOW)

    with pytest.raises(FlowrouteValueError, match="at most 92") as caught:
        Window(start, start + timedelta(days=92, seconds=1)).check_exportable(NOW)
    assert "92 days, 0:00:01" in str(caught.value)
    assert "Window.split()" in str(caught.value)


@given(
    start=instants,
    seconds=st.integers(min_value=1, max_value=400 * 86400),
    max_days=st.integers(min_value=1, max_value=MAX_DAYS),
)
def test_parts_of_a_split_window_are_contiguous(start: datetime, seconds: int, max_days: int):
    window = Window(start, start.astimezone(UTC) + timedelta(seconds=seconds))

    parts = list(window.split(max_days))

    assert parts[0].start == window.start
    assert parts[-1].end == window.end
    assert all(early.end == late.start for early, late in itertools.pairwise(parts))
    assert all(part.end - part.start <= timedelta(days=max_days) for part in parts)
    assert all(part.end - part.start == timedelta(days=max_days) for part in parts[:-1])


def test_year_is_four_exports():
    year = Window("2025-01-01", "2026-01-01")  # type: ignore[arg-type]

    assert [str(part) for part in year.split()] == [
        "2025-01-01 00:00:00 .. 2025-04-03 00:00:00 UTC",
        "2025-04-03 00:00:00 .. 2025-07-04 00:00:00 UTC",
        "2025-07-04 00:00:00 .. 2025-10-04 00:00:00 UTC",
        "2025-10-04 00:00:00 .. 2026-01-01 00:00:00 UTC",
    ]


@pytest.mark.parametrize("max_days", [0, -1, 93])
def test_split_into_parts_longer_than_an_export_is_rejected(max_days: int):
    with pytest.raises(FlowrouteValueError, match=f"(?s)max_days is {max_days}.*at most 92"):
        list(Window(MIDNIGHT, NOW).split(max_days))
