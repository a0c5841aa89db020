"""The report of a simulated year in a real browser: on a desktop and a phone, in light and dark colours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from airflow_standalone import AIRFLOW_2
from playwright.sync_api import Browser, Page

from airflow_provider_flowroute.report import write_report
from tests.report.lake import land_year

from .conftest import HOME

pytestmark = [
    pytest.mark.e2e_ui,
    pytest.mark.skipif(AIRFLOW_2, reason="the report does not depend on the version of Airflow"),
]

DESKTOP, PHONE = 1280, 390
SCREENS = [(DESKTOP, "light"), (DESKTOP, "dark"), (PHONE, "light"), (PHONE, "dark")]
#: The pictures of the documentation: their screen, and their height in pixels.
PICTURES = {
    "report.png": (DESKTOP, "light"),
    "report-dark.png": (DESKTOP, "dark"),
    "report-phone.png": (PHONE, "light"),
}
#: Elements that the reader sees beyond the right edge of the page. Wide tables scroll in a box of their own.
OVERFLOWING = """
() => [...document.querySelectorAll('main *')]
    .filter(element => !element.closest('.scroll') && element.getBoundingClientRect().right > innerWidth + 0.5)
    .map(element => element.outerHTML.slice(0, 120))
"""
#: The contrast of the text and the background of the page, as WCAG defines it.
CONTRAST = """
(selector) => {
    const light = colour => {
        const [r, g, b] = colour.match(/[\\d.]+/g).map(value => value / 255)
            .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const card = getComputedStyle(document.querySelector('.card')).backgroundColor;
    const text = getComputedStyle(document.querySelector(selector)).color;
    const [low, high] = [light(card), light(text)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
}
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a year with missing, partial and double days, a mismatch and toll fraud."""
    folder = tmp_path_factory.mktemp("report")
    land_year(folder / "lake", 2025, calls_per_day=150)
    write_report(folder / "lake", folder / "report.html", timezone="UTC")
    return folder / "report.html"


@contextmanager
def opened(browser: Browser, report: Path, width: int, scheme: Any) -> Iterator[Page]:
    """Open the report on a screen. A message on the console, or a request for another file, fails the test."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, locale="en-US"
    )
    page = context.new_page()
    problems: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(report.as_uri())
    yield page
    context.close()
    assert problems == []
    assert set(requests) <= {report.as_uri(), "data:,"}


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_report_fits_the_screen_without_sideways_scroll(
    browser: Browser, report: Path, width: int, scheme: str
):
    with opened(browser, report, width, scheme) as page:
        for _ in ("closed", "open"):
            assert page.evaluate("document.documentElement.scrollWidth") == width
            assert page.evaluate(OVERFLOWING) == []
            page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_report_is_readable_in_light_and_dark_colours(browser: Browser, report: Path, scheme: str):
    with opened(browser, report, DESKTOP, scheme) as page:
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        channels = [int(part) for part in background.strip("rgb()").split(",")]

        assert (sum(channels) < 128) == (scheme == "dark")
        for selector in (".value", ".note", "summary", "td", "th[scope=col]"):
            assert page.evaluate(CONTRAST, selector) >= 4.5, selector


def test_labels_of_an_axis_do_not_overlap_on_a_phone(browser: Browser, report: Path):
    with opened(browser, report, PHONE, "light") as page:
        for chart in page.locator(".plot").all():
            labels = chart.locator(".x:visible").all()
            boxes = [box for label in labels if (box := label.bounding_box())]
            assert len(boxes) == len(labels) >= 4
            for left, right in pairwise(boxes):
                assert left["x"] + left["width"] < right["x"]


def test_pictures_of_the_documentation(browser: Browser, report: Path):
    """The test of the screens asserts what they must show."""
    for name, (width, scheme) in PICTURES.items():
        with opened(browser, report, width, scheme) as page:
            path = HOME / "img" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            height = 1100
            if width == DESKTOP:
                box = page.locator("section", has_text="Calls and cost per day").bounding_box()
                assert box is not None
                height = int(box["y"] + box["height"]) + 18
            page.screenshot(
                path=path, full_page=True, clip={"x": 0, "y": 0, "width": width, "height": height}
            )
            assert path.stat().st_size > 20_000
