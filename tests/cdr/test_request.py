"""When two requests select the same calls, in each format in which Flowroute returns them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_flowroute.cdr.export import CdrExport
from airflow_provider_flowroute.cdr.filters import build_filter_parameters, parse_filter_parameters
from airflow_provider_flowroute.cdr.request import CdrExportRequest, fingerprint, same_request
from airflow_provider_flowroute.cdr.window import WINDOW_END, WINDOW_START, Window
from tests.cdr.test_filters import requests

SENT = {
    WINDOW_START: "2019-01-01 00:00:00",
    WINDOW_END: "2019-02-01 00:00:00",
    "number_aliases": ["Office 221", "Office 888"],
    "duration_greater_than": 60,
    "cost_less_than": 0.1,
    "tollfree_only": True,
    "direction": "inbound",
    "caller_ip": "203.0.113.7",
    "portal_only": ["a", 1],
}


@pytest.mark.parametrize(
    ("name", "echoed"),
    [
        (WINDOW_START, "2019-01-01T00:00:00+00:00"),
        (WINDOW_START, "2019-01-01T03:00:00+03:00"),
        (WINDOW_START, "2019-01-01T00:00:00Z"),
        (WINDOW_END, "2019-01-31T18:00:00-06:00"),
        (WINDOW_END, "2019-02-01T00:00:00.000000"),
        ("number_aliases", "['Office 221', 'Office 888']"),
        ("number_aliases", '["Office 888", "Office 221"]'),
        ("number_aliases", ["Office 888", "Office 221"]),
        ("number_aliases", ["Office 221", "Office 888", "Office 221"]),
        ("duration_greater_than", "60"),
        ("duration_greater_than", 60.0),
        ("duration_greater_than", "60.000"),
        ("cost_less_than", "0.100000"),
        ("cost_less_than", Decimal("0.1")),
        ("cost_less_than", "0.1000000000000000055"),
        ("tollfree_only", "true"),
        ("tollfree_only", "True"),
        ("direction", "Inbound"),
        ("portal_only", "['a', 1]"),
        ("portal_only", '["a", 1]'),
    ],
)
def test_echo_in_another_format_is_the_same_request(name: str, echoed: Any):
    assert same_request(SENT, {**SENT, name: echoed})
    assert same_request({**SENT, name: echoed}, SENT)


@pytest.mark.parametrize("default", [None, "None", [], "[]"])
@pytest.mark.parametrize(
    "name", ["callerid_numbers", "duration_less_than", "cost_greater_than", "another_portal_only"]
)
def test_empty_filter_in_the_echo_is_the_same_as_none(name: str, default: Any):
    assert same_request(SENT, {**SENT, name: default})


@pytest.mark.parametrize("default", [False, "false", "False"])
def test_false_in_the_echo_is_the_same_as_none(default: Any):
    assert same_request(SENT, {**SENT, "exclude_cancelled": default})


@pytest.mark.parametrize(
    ("name", "other"),
    [
        (WINDOW_START, "2019-01-01T00:00:00+03:00"),
        (WINDOW_START, "2019-01-01 00:00:01"),
        (WINDOW_START, "unreadable"),
        (WINDOW_END, None),
        ("number_aliases", ["Office 221"]),
        ("number_aliases", "['Office 221']"),
        ("number_aliases", ["office 221", "office 888"]),
        ("duration_greater_than", 61),
        ("duration_greater_than", None),
        ("cost_less_than", 0.2),
        ("tollfree_only", False),
        ("tollfree_only", "maybe"),
        ("direction", "outbound"),
        ("caller_ip", "203.0.113.8"),
        ("portal_only", ["a"]),
        ("duration_less_than", 0),
        ("cost_greater_than", 0),
        ("cost_greater_than", "unreadable"),
        ("another_portal_only", 0),
    ],
)
def test_request_for_other_calls_is_another_request(name: str, other: Any):
    assert not same_request(SENT, {**SENT, name: other})
    assert not same_request({**SENT, name: other}, SENT)


def test_invalid_echoes_are_the_same_only_if_they_are_equal():
    assert same_request({"direction": "sideways"}, {"direction": "sideways"})
    assert not same_request({"direction": "sideways"}, {"direction": "up"})


def an_export(callback_url: str | None) -> CdrExport:
    attributes = {"status": "processing", "callback_url": callback_url, "filter_parameters": SENT}
    return CdrExport.from_resource({"id": "1", "attributes": attributes})


def in_another_format(value: Any, name: str, offset: timezone) -> Any:
    if name in (WINDOW_START, WINDOW_END):
        return datetime.fromisoformat(f"{value}+00:00").astimezone(offset).isoformat()
    return str(value[::-1]) if isinstance(value, list) else value if isinstance(value, str) else str(value)


@given(
    written=requests,
    start=st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    seconds=st.integers(1, 92 * 86400),
    offset=st.integers(-12, 14).map(lambda hours: timezone(timedelta(hours=hours))),
)
def test_request_is_the_same_as_each_of_its_echoes(
    written: dict[str, Any], start: datetime, seconds: int, offset: timezone
):
    filters, _ = parse_filter_parameters(written)
    sent = build_filter_parameters(
        Window(start, start + timedelta(seconds=seconds, microseconds=999_999)), filters
    )
    echo = {name: in_another_format(value, name, offset) for name, value in sent.items()}

    assert same_request(sent, echo)
    assert same_request(echo, sent)
    assert not same_request(sent, {**echo, "caller_ip": "another"})
    assert not same_request(sent, {**echo, WINDOW_START: (start - timedelta(days=1)).isoformat()})


@pytest.mark.parametrize(
    "echoed",
    [
        "https://example.com/cdrs/a%20b?token=x%2Fy",
        "https://example.com/cdrs/a%20b/?token=x%2Fy",
        "HTTPS://Example.com:443/cdrs/a%20b?token=x/y",
        "https://example.com/cdrs/a b?token=x%2fy",
        None,
        "",
        "None",
    ],
)
def test_export_with_a_normalized_or_missing_callback_url_matches(echoed: Any):
    request = CdrExportRequest(SENT, "https://example.com/cdrs/a%20b?token=x%2Fy")

    assert request.matches(an_export(echoed))


def test_trailing_slash_after_the_host_does_not_matter():
    assert CdrExportRequest(SENT, "https://example.com").matches(an_export("https://example.com/"))


@pytest.mark.parametrize(
    "echoed",
    [
        "https://example.com/cdrs?token=y",
        "https://example.com/cdrs",
        "https://example.com/CDRS?token=x",
        "https://example.com:8443/cdrs?token=x",
        "http://example.com/cdrs?token=x",
        "https://example.org/cdrs?token=x",
        "not a URL",
        "https://example.com:port/cdrs?token=x",
    ],
)
def test_export_with_another_callback_url_does_not_match(echoed: str):
    assert not CdrExportRequest(SENT, "https://example.com/cdrs?token=x").matches(an_export(echoed))
    assert not CdrExportRequest(SENT).matches(an_export(echoed))


def test_fingerprint_identifies_a_request_in_every_format():
    echoed = {
        **SENT,
        WINDOW_START: "2019-01-01T03:00:00+03:00",
        "number_aliases": "['Office 888', 'Office 221']",
        "exclude_cancelled": False,
    }
    assert fingerprint(echoed) == fingerprint(SENT)
    assert len({fingerprint({**SENT, name: "7"}) for name in SENT} | {fingerprint(SENT)}) == len(SENT) + 1


def test_fingerprint_does_not_depend_on_the_process():
    assert fingerprint(SENT) == "bfd99e242f393e8454212f2a1d9fcb8f"
