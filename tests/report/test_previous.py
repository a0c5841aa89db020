"""What changed since an earlier report."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from airflow_provider_flowroute.exceptions import FlowrouteValueError
from airflow_provider_flowroute.report import write_report
from airflow_provider_flowroute.report.data import Figures
from airflow_provider_flowroute.report.previous import compare, read_previous
from airflow_provider_flowroute.report.source import as_path
from airflow_provider_flowroute.report.write import read_report_data

from .lake import DAY, call_at, land, utc

JULY = date(2026, 7, 1)
PERIOD = (JULY, JULY + 3 * DAY)
START = utc(JULY)


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """Two of three days; the second has only its first half."""
    folder = tmp_path / "lake"
    paid = {"total_cost": "1.00000001", "destination_name": "CANADA"}
    land(folder / "1.parquet", [call_at(START, **paid)], START, START + DAY)
    land(folder / "2.parquet", [call_at(START + DAY, **paid)], START + DAY, START + 1.5 * DAY)
    return folder


def test_a_report_finds_what_changed_since_the_earlier_one(lake: Path, tmp_path: Path):
    write_report(lake, tmp_path / "before.html", *PERIOD)
    new = {"total_cost": "2.5", "destination_name": "CUBA", "billed_duration": "60"}
    land(lake / "3.parquet", [call_at(START + 1.5 * DAY, **new)], START + 1.5 * DAY, START + 3 * DAY)

    changes = compare(
        read_report_data([lake], *PERIOD, "UTC"), read_previous(as_path(tmp_path / "before.html"))
    )

    assert (changes.start, changes.end, changes.timezone) == (*PERIOD, "UTC")
    assert (changes.totals.before.calls, changes.totals.before.cost) == (2, Decimal("2.00000002"))
    assert (changes.totals.now.calls, changes.totals.now.cost) == (3, Decimal("4.50000002"))
    second, third = changes.days
    assert (second.date, second.state_before, second.state_now) == (JULY + DAY, "partly landed", "complete")
    assert (second.before.calls, second.now.calls) == (1, 2)
    assert second.now.cost - second.before.cost == Decimal("2.5")
    assert (third.date, third.state_before, third.state_now) == (JULY + 2 * DAY, "missing", "complete")
    assert [(change.name, change.before, change.now) for change in changes.destinations] == [
        ("CUBA", Figures(), Figures(1, Decimal("2.5"), 60))
    ]


def test_the_page_shows_what_changed(lake: Path, tmp_path: Path):
    write_report(lake, tmp_path / "before.html", *PERIOD)
    land(lake / "3.parquet", [], START + 1.5 * DAY, START + 3 * DAY)

    write_report(lake, tmp_path / "now.html", *PERIOD, previous=tmp_path / "before.html")

    page = (tmp_path / "now.html").read_text()
    assert "What changed since the earlier report" in page
    assert "partly landed → complete" in page
    assert "missing → complete" in page


def test_an_unchanged_month_has_no_changed_day(lake: Path, tmp_path: Path):
    write_report(lake, tmp_path / "before.html", *PERIOD)

    write_report(lake, tmp_path / "now.html", *PERIOD, previous=tmp_path / "before.html")

    assert "No day of both reports has other figures now." in (tmp_path / "now.html").read_text()


def test_days_of_different_zones_are_not_compared(lake: Path, tmp_path: Path):
    write_report(lake, tmp_path / "before.html", *PERIOD, "Europe/Berlin")

    write_report(lake, tmp_path / "now.html", *PERIOD, previous=tmp_path / "before.html")

    assert "no day in common, because their time zones differ" in (tmp_path / "now.html").read_text()


def test_a_report_can_replace_the_report_that_it_is_compared_with(lake: Path, tmp_path: Path):
    path = tmp_path / "report.html"
    write_report(lake, path, *PERIOD)

    write_report(lake, path, *PERIOD, previous=path)

    assert read_previous(as_path(path))["totals"][:2] == [2, "2.00000002"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "FileNotFoundError"),
        ("<html><body>A page</body></html>", "JSONDecodeError"),
        ('<script type="application/json" id="flowroute-report-data">{"version": 99}</script>', "version 99"),
        ('<script type="application/json" id="flowroute-report-data">[]</script>', "TypeError"),
    ],
)
def test_a_file_that_is_no_report_is_refused(lake: Path, tmp_path: Path, content: str | None, problem: str):
    before = tmp_path / "before.html"
    if content is not None:
        before.write_text(content)

    with pytest.raises(FlowrouteValueError, match=r"before\.html is no earlier report") as caught:
        write_report(lake, tmp_path / "now.html", *PERIOD, previous=before)

    assert problem in str(caught.value)
    assert not (tmp_path / "now.html").exists()
