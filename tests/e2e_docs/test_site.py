"""The built documentation in a real browser, at the width of a phone and of a laptop.

`make docs-test` builds the site and runs these tests. The screenshots of all pages are in `.docs-screenshots`.
"""

from __future__ import annotations

import functools
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

import airflow_provider_flowroute
from tests.browser import browser  # noqa: F401 - a fixture

CHECKOUT = Path(__file__).parents[2]
SITE = CHECKOUT / "site"
SCREENSHOTS = CHECKOUT / ".docs-screenshots"
WIDTHS = (390, 1280)
PAGES = sorted(str(page.relative_to(SITE)) for page in SITE.rglob("*.html") if page.name not in ("404.html",))

#: Return what scrolls sideways: the page, a table, or a code block. On a phone, code may scroll, but commands wrap.
SCROLLS = """() => {
  const wide = element => element.scrollWidth > element.clientWidth + 1;
  const found = wide(document.documentElement) ? ["the page"] : [];
  for (const box of document.querySelectorAll(".md-typeset__scrollwrap, .md-typeset pre > code")) {
    const wraps = !box.matches("code") || box.closest(".language-bash, .language-console, .language-text");
    if (wide(box) && (wraps || innerWidth >= 1280)) found.push(box.innerText.slice(0, 80));
  }
  return found;
}"""
ELEMENTS = """() => ({
  ids: [...document.querySelectorAll("[id]")].map(element => element.id),
  links: [...document.links].map(link => link.href),
  without_alt: [...document.images].filter(image => !image.alt && !image.closest(".md-logo")).map(image => image.src),
  headers: [...document.querySelectorAll(".md-typeset th")].map(header => header.innerText.trim()),
})"""


class QuietHandler(SimpleHTTPRequestHandler):
    """Serve files without a log."""

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """URL of the built site."""
    assert PAGES, "There is no site: run make docs."
    handler = functools.partial(QuietHandler, directory=str(SITE))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@dataclass
class Visit:
    """What a page shows.

    :param scrolls: what scrolls sideways, by width.
    :param errors: errors in the console, exceptions and failed requests.
    :param elements: IDs, links, images without a description, and headers of tables.
    """

    scrolls: dict[int, list[str]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    elements: dict[str, list[str]] = field(default_factory=dict)


@pytest.fixture(scope="module")
def visits(browser: Browser, address: str) -> dict[str, Visit]:  # noqa: F811
    """Open each page once and take its screenshots."""
    shutil.rmtree(SCREENSHOTS, ignore_errors=True)
    visits = {}
    context = browser.new_context(locale="en-US", color_scheme="light")
    tab = context.new_page()
    for name in PAGES:
        visit = visits[name] = Visit()
        listeners = {
            "console": lambda message, visit=visit: (
                message.type in ("error", "warning") and visit.errors.append(message.text)
            ),
            "pageerror": lambda error, visit=visit: visit.errors.append(str(error)),
            "requestfailed": lambda request, visit=visit: visit.errors.append(request.url),
            "response": lambda response, visit=visit: (
                response.ok
                or response.status == 304
                or visit.errors.append(f"{response.status} {response.url}")
            ),
        }
        for event, listener in listeners.items():
            tab.on(event, listener)  # type: ignore[call-overload]
        for width in WIDTHS:
            tab.set_viewport_size({"width": width, "height": 900})
            if width == WIDTHS[0]:
                tab.goto(f"{address}/{name}", wait_until="load")
                tab.add_style_tag(content="* { transition: none !important; }")  # a resize shows its result
                tab.evaluate("Promise.all([...document.images].map(image => image.decode()))")
                visit.elements = tab.evaluate(ELEMENTS)
            visit.scrolls[width] = tab.evaluate(SCROLLS)
            picture = SCREENSHOTS / str(width) / name.replace("/", "-").replace(".html", ".png")
            picture.parent.mkdir(parents=True, exist_ok=True)
            tab.screenshot(path=picture, full_page=True, animations="disabled")
        for event, listener in listeners.items():
            tab.remove_listener(event, listener)
    context.close()
    return visits


@pytest.fixture
def tab(browser: Browser, address: str) -> Iterator[Page]:  # noqa: F811
    """A tab that may use the clipboard, at the width of a laptop."""
    context = browser.new_context(
        base_url=address,
        viewport={"width": 1280, "height": 900},
        permissions=["clipboard-read", "clipboard-write"],
    )
    yield context.new_page()
    context.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_phone_and_laptop_without_errors(visits: dict[str, Visit], name: str):
    visit = visits[name]

    assert visit.scrolls == {width: [] for width in WIDTHS}
    assert visit.errors == []
    assert visit.elements["without_alt"] == []
    assert "" not in visit.elements["headers"]


@pytest.mark.parametrize("name", PAGES)
def test_every_internal_link_and_anchor_of_a_page_exists(visits: dict[str, Visit], address: str, name: str):
    broken = []
    for link in visits[name].elements["links"]:
        target, _, anchor = link.removeprefix(f"{address}/").partition("#")
        if not link.startswith(address):
            continue  # other hosts are not checked
        target = target or "index.html"
        if not (SITE / target).is_file() or (anchor and anchor not in visits[target].elements["ids"]):
            broken.append(link)
    assert broken == []


def test_all_example_dags_are_shown_in_full(tab: Page):
    tab.goto("/examples.html")

    shown = tab.locator(".language-python code").all_inner_texts()
    files = [dag.read_text() for dag in (CHECKOUT / "example_dags").glob("*.py")]
    assert sorted(code.strip() for code in shown) == sorted(code.strip() for code in files)


@pytest.mark.parametrize(
    ("query", "page"),
    [
        ("429", "troubleshooting.html"),
        ("FlowrouteHook", "api/hooks.html"),
        ("CdrExportMismatchError", "exceptions.html"),
    ],
)
def test_search_works_offline(tab: Page, query: str, page: str):
    tab.goto("/index.html")
    expect(tab.locator(".md-search-result__meta")).to_have_text("Type to start searching", timeout=15_000)
    tab.locator(".md-search__input").press_sequentially(query)

    result = tab.locator(f'.md-search-result__link[href*="{page}"]').first
    expect(result).to_be_attached(timeout=15_000)


def test_copying_a_command_copies_no_prompt_and_no_output(tab: Page):
    tab.goto("/simulator.html")
    tab.locator(".language-console").first.hover()
    tab.locator(".language-console [data-clipboard-target]").first.click()

    expect(tab.get_by_text("Copied to clipboard")).to_be_visible()
    copied = tab.evaluate("navigator.clipboard.readText()")
    assert copied.strip() == "python -m airflow_provider_flowroute.simulator"


def test_header_shows_the_version_and_switches_to_dark_mode(tab: Page):
    tab.goto("/index.html")

    expect(tab.locator("header")).to_contain_text(airflow_provider_flowroute.__version__)
    tab.locator('label[title="Switch to dark mode"]').click()
    expect(tab.locator("body")).to_have_attribute("data-md-color-scheme", "slate")
    tab.screenshot(path=SCREENSHOTS / "dark.png")
