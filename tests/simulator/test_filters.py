"""Every filter parameter selects calls, and several are combined with AND."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_flowroute.simulator import FlowrouteSimulator
from tests.simulator.user import User

WINDOW = ("2026-03-02 00:00:00", "2026-03-05 00:00:00")
TOLLFREE = ("1800", "1833", "1844", "1855", "1866", "1877", "1888")
Row = dict[str, str]


@pytest.fixture(scope="module")
def account() -> Iterator[User]:
    with FlowrouteSimulator() as flowroute, User(flowroute) as user:
        yield user


@pytest.fixture(scope="module")
def everything(account: User) -> list[Row]:
    return account.rows(*WINDOW)


CASES: list[tuple[dict[str, Any], Callable[[Row], bool]]] = [
    ({"number_aliases": ["Office 221", "Sales, West"]}, lambda r: r["number_alias"] in ("Office 221", "Sales, West")),
    (
        {"number_aliases_contains": ["Line", "24/7"]},
        lambda r: "Line" in r["number_alias"] or "24/7" in r["number_alias"],
    ),
    ({"destination_numbers": ["+12063389999"]}, lambda r: r["destination"] == "12063389999"),
    ({"destination_numbers": ["12063389999"]}, lambda r: r["destination"] == "12063389999"),
    ({"callerid_numbers": ["12065550121"]}, lambda r: r["callerid"] == "+12065550121"),
    ({"callerid_numbers": ["+12065550121"]}, lambda r: r["callerid"] == "+12065550121"),
    ({"custom_x_tags": ["tenant-17", "café"]}, lambda r: r["custom_x_tag"] in ("tenant-17", "café")),
    ({"custom_x_tag": ["tenant-42"]}, lambda r: r["custom_x_tag"] == "tenant-42"),
    ({"caller_ip": "203.0.113.17"}, lambda r: r["customer_ip"].split(":")[0] == "203.0.113.17"),
    ({"duration_greater_than": 60}, lambda r: int(r["duration"]) > 60),
    ({"duration_greater_than": 0}, lambda r: int(r["duration"]) > 0),
    ({"duration_less_than": 60.5}, lambda r: int(r["duration"]) < 60.5),
    ({"cost_greater_than": 0.0039}, lambda r: Decimal(r["total_cost"]) > Decimal("0.0039")),
    ({"cost_less_than": 0.0039}, lambda r: Decimal(r["total_cost"]) < Decimal("0.0039")),
    (
        {"destination_countries_included": ["GB", "germany"]},
        lambda r: r["destination_name"] in ("UNITED KINGDOM", "UNITED KINGDOM - MOBILE", "GERMANY"),
    ),
    ({"destination_countries_included": ["US"]}, lambda r: r["destination_name"].startswith("UNITED STATES")),
    (
        {"destination_countries_excluded": ["US", "CA"]},
        lambda r: not r["destination_name"].startswith(("UNITED STATES", "CANADA")),
    ),
    ({"tollfree_only": True}, lambda r: r["destination"].startswith(TOLLFREE) and len(r["destination"]) == 11),
    ({"direction": "inbound"}, lambda r: r["direction"].lower() == "inbound"),
    ({"direction": "outbound"}, lambda r: r["direction"].lower() == "outbound"),
    ({"exclude_cancelled": True}, lambda r: r["result"] != "cancelled"),
    ({"destination_prefix": ["44", "+49"]}, lambda r: r["destination"].startswith(("44", "49"))),
    ({"callerid_prefix": ["1206", "+44"]}, lambda r: r["callerid"].startswith(("+1206", "+44"))),
    (
        {"direction": "outbound", "exclude_cancelled": True, "duration_less_than": 30},
        lambda r: r["direction"].lower() == "outbound" and r["result"] != "cancelled" and int(r["duration"]) < 30,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("filters", "matches"), CASES, ids=[str(filters) for filters, _ in CASES])
def test_filter_selects_exactly_the_matching_calls(
    account: User, everything: list[Row], filters: dict[str, Any], matches: Callable[[Row], bool]
) -> None:
    expected = [row for row in everything if matches(row)]
    assert 0 < len(expected) < len(everything)
    assert account.rows(*WINDOW, **filters) == expected


@pytest.mark.parametrize(
    "filters", [{"number_aliases": []}, {"tollfree_only": False}, {"exclude_cancelled": False}]
)
def test_empty_list_and_false_have_no_effect(
    account: User, everything: list[Row], filters: dict[str, Any]
) -> None:
    assert account.rows(*WINDOW, **filters) == everything


def test_totals_are_those_of_the_selected_calls(account: User, everything: list[Row]) -> None:
    attributes = account.status(account.create(*WINDOW, direction="inbound"))
    selected = [row for row in everything if row["direction"].lower() == "inbound"]
    assert attributes["num_calls"] == len(selected)
    for name, column in (
        ("total_cost", "total_cost"),
        ("cnamlookup_fees", "cnam_lookup_fee"),
        ("ccrf", "ccrf"),
    ):
        assert attributes[name] == f"{sum(Decimal(row[column]) for row in selected):.6f}"
    assert attributes["connect_fees"] == "0.0"
    assert attributes["billed_minutes"] == round(sum(int(row["billed_duration"]) for row in selected) / 60, 2)
