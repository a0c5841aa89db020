"""The HTML of a report: complete, self-contained, accessible, escaped, and without phone numbers."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from datetime import date
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import pytest

from airflow_provider_flowroute.report import write_report
from airflow_provider_flowroute.report.charts import period_text, ticks
from airflow_provider_flowroute.report.data import DayState

from .conftest import Lake
from .lake import DAY, call_at, cost_of, land, toll_fraud, utc

JULY = date(2026, 7, 1)
START = utc(JULY)
#: Elements without an end tag.
VOID = {"meta", "link", "br", "img"}
TIMES = "\N{MULTIPLICATION SIGN}"


class Elements(HTMLParser):
    """Check that tags are balanced, and collect what a test asserts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.scripts: list[dict[str, str | None]] = []
        self.references: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.references += [value for name in ("src", "href") if (value := found.get(name))]
        if tag == "script":
            self.scripts.append(found)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not dict(attrs).keys() & {"src", "href"}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(march: Lake, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report of March."""
    output = tmp_path_factory.mktemp("page") / "report.html"
    write_report(march.path, output, "2026-03-01", "2026-04-01")
    return output.read_text()


def pictures(page: str) -> list[ET.Element]:
    """Return the pictures; their markup is also valid XML."""
    found = [ET.fromstring(svg) for svg in re.findall(r"<svg .*?</svg>", page, re.DOTALL)]
    return [svg for svg in found if svg.get("aria-hidden") != "true"]


def test_page_is_one_file_without_scripts(page):
    elements = Elements(page)

    assert [(script["type"], script["id"]) for script in elements.scripts] == [
        ("application/json", "flowroute-report-data")
    ]
    assert elements.references == ["data:,"]
    assert not re.search(r"@import|url\((?!#)|https?://", page)
    assert "default-src 'none'" in page


def test_every_picture_has_a_text_alternative(page):
    svgs = pictures(page)

    assert len(svgs) > 20
    for svg in svgs:
        assert svg.get("role") == "img"
        for name in ("title", "desc"):
            child = svg.find(name)
            assert child is not None
            assert child.text
            if svg.get("aria-labelledby"):
                assert child.get("id") in svg.get("aria-labelledby", "").split()


def test_ids_are_unique(page):
    ids = re.findall(r' id="([^"]+)"', page)

    assert len(ids) == len(set(ids))


def test_every_table_column_has_a_header(page):
    for table in re.findall(r"<table.*?</table>", page, re.DOTALL):
        columns = table.split("<tbody>")[0].count('<th scope="col"')
        rows = re.findall(r"<tr>.*?</tr>", table.split("<tbody>")[1], re.DOTALL)
        assert {row.count("<td") + row.count("<th") for row in rows} == {columns}


def test_amounts_are_exact_in_the_tables(page, march):
    cost = f"{cost_of(march.rows):,.8f}"
    first = [row for row in march.rows if row["start_time"].startswith("2026-03-01")]

    assert f"exactly {cost}" in page
    assert f"<td>{cost_of(first):,.8f}</td></tr>" in page
    assert f"<td>{cost}</td><td>100.0 %</td></tr></tfoot>" in page


def test_complete_month_says_so(page):
    assert "All 31 days are landed and reconciled" in page
    assert page.count('class="cell complete"') == 31 + 1  # and in the legend


def test_page_has_no_phone_number_and_no_caller_id(page, march):
    personal = {
        row[name].lstrip("+")
        for row in march.rows
        for name in ("destination", "callerid", "customer_ip", "cdr_id")
    }
    personal -= {"", "anonymous"}

    assert len(personal) > 1000
    assert not [value for value in personal if value in page]


def test_names_from_the_files_are_escaped(tmp_path: Path):
    name = "<script>alert('x')</script>&\"</title>"
    land(
        tmp_path / "a.parquet",
        [call_at(START, destination_name=name, number_alias=name, call_fail_reason=name, result="failed")],
        START,
        START + DAY,
    )

    write_report(tmp_path / "a.parquet", tmp_path / "report.html")

    page = (tmp_path / "report.html").read_text()
    Elements(page)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&#34;&lt;/title&gt;" in page
    pictures(page)


def test_calendar_shows_each_state_by_a_symbol_and_in_words(tmp_path: Path):
    land(tmp_path / "1.parquet", [], START, START + DAY)
    land(tmp_path / "2.parquet", [], START + DAY, START + 1.5 * DAY)
    land(tmp_path / "3.parquet", [], START + 2 * DAY, START + 3 * DAY, num_calls=1)
    for name in ("4", "again"):
        land(tmp_path / f"{name}.parquet", [], START + 3 * DAY, START + 4 * DAY)
    land(tmp_path / "5.parquet", [], START + 4 * DAY, START + 5 * DAY, num_calls=None)

    write_report(tmp_path, tmp_path / "report.html", JULY, JULY + 6 * DAY)

    page = (tmp_path / "report.html").read_text()
    [month] = [svg for svg in pictures(page) if svg.get("aria-labelledby", "").startswith("month")]
    cells = list(month.iter("g"))
    assert [cell.findtext("text") for cell in cells] == ["1", "◐", "≠", f"2{TIMES}", "?", TIMES]
    assert [cell.get("class") for cell in cells] == [
        f"cell {state.name.lower()}"
        for state in (
            DayState.COMPLETE,
            DayState.PARTIAL,
            DayState.MISMATCH,
            DayState.OVERLAP,
            DayState.UNCHECKED,
            DayState.MISSING,
        )
    ]
    assert month.findtext("desc") == (
        "complete: 1 day. partly landed: day 2. mismatch: day 3. overlap: day 4. not reconciled: day 5. missing: day 6"
    )
    assert "5 of 6 days are not landed and reconciled" in page


def test_toll_fraud_stands_out(tmp_path: Path):
    for number in range(10):
        day = START + number * DAY
        calls = [call_at(day, destination_name="CANADA", total_cost="0.1") for _ in range(20)]
        calls += toll_fraud(day) if number == 6 else []
        land(tmp_path / f"{number}.parquet", calls, day, day + DAY)

    data = write_report(tmp_path, tmp_path / "report.html")

    assert {(outlier.date, outlier.destination) for outlier in data.outliers} == {
        (JULY + 6 * DAY, None),
        (JULY + 6 * DAY, "CUBA"),
    }
    page = (tmp_path / "report.html").read_text()
    assert '<td class="text">CUBA</td><td>60</td><td>0</td>' in page
    assert "its robust z-score is 3.5 or more" in page
    assert "<td>221.00</td><td>2.00</td>" in page


def test_day_with_another_length_says_so(tmp_path: Path):
    march = utc(date(2026, 3, 8))
    land(tmp_path / "a.parquet", [], march, march + 2 * DAY)

    write_report(tmp_path, tmp_path / "report.html", "2026-03-08", "2026-03-09", "America/Los_Angeles")

    assert "2026-03-08 Sun (23 hours)" in (tmp_path / "report.html").read_text()


def test_report_without_calls_is_complete(tmp_path: Path):
    write_report([], tmp_path / "report.html", JULY, JULY + DAY)

    page = (tmp_path / "report.html").read_text()
    Elements(page)
    assert "1 of 1 day is not landed and reconciled" in page
    assert "At least 7 completely landed days are needed" in page


@pytest.mark.parametrize(
    ("maximum", "expected"),
    [
        (0, [0, 1]),
        (4, [0, 1, 2, 3, 4]),
        (7, [0, 2, 4, 6, 8]),
        (0.0031, [0, 0.001, 0.002, 0.003, 0.004]),
        (1234, [0, 500, 1000, 1500]),
    ],
)
def test_axis_has_round_values(maximum: float, expected: list[float]):
    assert ticks(maximum) == expected


@pytest.mark.parametrize(
    ("start", "end", "text"),
    [
        (date(2026, 7, 1), date(2026, 8, 1), "July 2026"),
        (date(2025, 1, 1), date(2026, 1, 1), "2025"),
        (date(2026, 7, 4), date(2026, 7, 5), "4 July 2026"),
        (date(2026, 6, 15), date(2026, 7, 3), "15 June 2026 to 2 July 2026"),
    ],
)
def test_period_is_named_as_people_do(start: date, end: date, text: str):
    assert period_text(start, end) == text


def test_small_amounts_do_not_look_like_zero(tmp_path: Path):
    land(tmp_path / "a.parquet", [call_at(START, total_cost="0.00000001")], START, START + DAY)

    data = write_report(tmp_path / "a.parquet", tmp_path / "report.html")

    page = (tmp_path / "report.html").read_text()
    assert data.totals.cost == Decimal("1e-8")
    assert "&lt;0.01 " in page
    assert "exactly 0.00000001" in page
