"""What a window promises: which calls an export holds, and that adjacent windows neither lose nor double one."""

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
        pytest.param(MIDNIGHT.replace(tzinfo=None), id="naive means UTC"),
        pytest.param(date(2026, 11, 23), id="a date is its midnight"),
        pytest.param(pendulum.datetime(2026, 11, 23), id="pendulum"),
        pytest.param(pendulum.datetime(2026, 11, 22, 19, tz="America/New_York"), id="pendulum elsewhere"),
        pytest.param(datetime(2026, 11, 23, 3, tzinfo=timezone(timedelta(hours=3))), id="an offset"),
        pytest.param("2026-11-23 00:00:00", id="Flowroute's own form"),
        pytest.param("2026-11-23", id="text of a date"),
        pytest.param("2026-11-23T00:00:00Z", id="ISO with Z"),
        pytest.param("2026-11-23 00:00:00+00:00", id="as Airflow renders it"),
        pytest.param("2026-11-23 03:00:00+03:00", id="text with an offset"),
        pytest.param("2026-11-22T17:30:00-06:30", id="text with an odd offset"),
        pytest.param("2026-11-23T00:00:00.999999+00:00", id="fractions are floored"),
        pytest.param(" 2026-11-23 00:00:00\n", id="space around it"),
    ],
)
def test_every_way_to_write_an_instant_means_the_same_second_in_utc(written: Any):
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
def test_what_is_no_instant_is_refused_with_its_name_and_value(written: Any):
    with pytest.raises(FlowrouteValueError) as caught:
        parse_instant(written, "start_call_start_time")

    assert f"start_call_start_time is {written!r}" in str(caught.value)
    assert "ISO 8601" in str(caught.value)


def test_text_that_a_template_rendered_wrongly_says_that_the_template_did_it():
    with pytest.raises(
        FlowrouteValueError, match="if it comes from a template, that template rendered to this"
    ):
        Window("None", "2026-11-24")  # type: ignore[arg-type]


@pytest.mark.parametrize("written", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_an_instant_beyond_the_calendar_in_utc_is_refused_like_any_other_wrong_one(written: str):
    with pytest.raises(FlowrouteValueError, match="start is "):
        parse_instant(written, "start")


@given(instants)
def test_an_instant_survives_being_written_and_read_again(instant: datetime):
    read = parse_instant(instant, "start")

    assert parse_instant(format_instant(read), "start") == read
    assert parse_instant(read.isoformat(), "start") == read
    assert timedelta(0) <= instant - read < timedelta(seconds=1)


@given(st.lists(instants, min_size=3, max_size=3, unique=True))
def test_adjacent_windows_tile_even_when_their_ends_bear_fractions(three: list[datetime]):
    first, middle, last = sorted(three)
    whole = [parse_instant(instant, "end") for instant in (first, middle, last)]
    if len(set(whole)) < 3:
        return  # within one second: an empty window, which is refused

    early, late = Window(first, middle), Window(str(middle), last.isoformat())  # type: ignore[arg-type]

    assert early.end == late.start
    assert (early.start, late.end) == (whole[0], whole[2])


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-11-23 00:00:00", "2026-11-23 00:00:00"),
        ("2026-11-23 00:00:00", "2026-11-22 23:59:59"),
        ("2026-11-23 00:00:00.1", "2026-11-23 00:00:00.9"),
        ("2026-11-23 03:00:00+03:00", "2026-11-23 00:00:00Z"),
    ],
)
def test_an_empty_window_is_refused_with_both_its_ends(start: Any, end: Any):
    with pytest.raises(FlowrouteValueError, match="The window is empty") as caught:
        Window(start, end)

    assert "starts at 2026-11-23 00:00:00" in str(caught.value)
    assert f"ends at {format_instant(parse_instant(end, 'end'))} UTC" in str(caught.value)


@pytest.mark.parametrize(
    ("start", "end", "named"),
    [("None", "2026-11-23", "start_call_start_time"), ("2026-11-23", "soon", "start_call_end_time")],
)
def test_a_window_says_which_of_its_ends_is_wrong(start: Any, end: Any, named: str):
    with pytest.raises(FlowrouteValueError, match=f"{named} is "):
        Window(start, end)


def test_a_window_may_end_now_but_not_later():
    Window(MIDNIGHT, NOW).check_exportable(NOW)

    with pytest.raises(FlowrouteValueError, match="ends in the future") as caught:
        Window(MIDNIGHT, NOW + timedelta(seconds=1)).check_exportable(NOW)
    assert "2026-11-23 00:00:00 .. 2026-11-24 12:00:01 UTC" in str(caught.value)
    assert "it is 2026-11-24 12:00:00 UTC" in str(caught.value)


def test_a_window_of_92_days_is_fine_and_one_second_more_is_not():
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
def test_the_pieces_of_a_split_window_tile_it_and_fit_one_export_each(
    start: datetime, seconds: int, max_days: int
):
    window = Window(start, start.astimezone(UTC) + timedelta(seconds=seconds))

    pieces = list(window.split(max_days))

    assert pieces[0].start == window.start
    assert pieces[-1].end == window.end
    assert all(early.end == late.start for early, late in itertools.pairwise(pieces))
    assert all(piece.end - piece.start <= timedelta(days=max_days) for piece in pieces)
    assert all(piece.end - piece.start == timedelta(days=max_days) for piece in pieces[:-1])


def test_a_year_is_four_exports():
    year = Window("2025-01-01", "2026-01-01")  # type: ignore[arg-type]

    assert [str(piece) for piece in year.split()] == [
        "2025-01-01 00:00:00 .. 2025-04-03 00:00:00 UTC",
        "2025-04-03 00:00:00 .. 2025-07-04 00:00:00 UTC",
        "2025-07-04 00:00:00 .. 2025-10-04 00:00:00 UTC",
        "2025-10-04 00:00:00 .. 2026-01-01 00:00:00 UTC",
    ]


@pytest.mark.parametrize("max_days", [0, -1, 93])
def test_a_split_that_one_export_cannot_hold_is_refused(max_days: int):
    with pytest.raises(FlowrouteValueError, match=f"max_days is {max_days}.*at most 92"):
        list(Window(MIDNIGHT, NOW).split(max_days))
