"""What users write in ``filter_parameters``, what templates render it to, and what is sent."""

from __future__ import annotations

import json
import logging
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_flowroute.cdr.filters import (
    FILTERS,
    build_filter_parameters,
    describe_filters,
    parse_callback_url,
    parse_filter_parameters,
)
from airflow_provider_flowroute.cdr.window import WINDOW_END, WINDOW_START, Window
from airflow_provider_flowroute.exceptions import FlowrouteValueError

LISTS = [
    "number_aliases",
    "number_aliases_contains",
    "destination_numbers",
    "callerid_numbers",
    "custom_x_tags",
    "custom_x_tag",
    "destination_countries_included",
    "destination_countries_excluded",
    "destination_prefix",
    "callerid_prefix",
]
SECONDS = ["duration_greater_than", "duration_less_than"]
DOLLARS = ["cost_greater_than", "cost_less_than"]
BOOLEANS = ["tollfree_only", "exclude_cancelled"]
REFERENCE = {*LISTS, *SECONDS, *DOLLARS, *BOOLEANS, "caller_ip", "direction"}

# What the user writes, and what is sent.
LIST_FORMS: list[tuple[Any, list[str]]] = [
    (["Office 221", "Office 888"], ["Office 221", "Office 888"]),
    (("a",), ["a"]),
    ({"a"}, ["a"]),
    ("['Office 221', 'Office 888']", ["Office 221", "Office 888"]),
    ('["Office 221", "Ü"]', ["Office 221", "Ü"]),
    ("['+12065551212']", ["+12065551212"]),
    ('["\\ud83d\\udcde"]', ["📞"]),
    ([12065551212], ["12065551212"]),
    ("[+12065551212]", ["12065551212"]),
]
SECOND_FORMS: list[tuple[Any, float]] = [
    (60, 60), ("60", 60), (" 60 ", 60), (60.0, 60), ("1.5", 1.5), (0, 0), ("0", 0), (Decimal("7.25"), 7.25),
]  # fmt: skip
DOLLAR_FORMS: list[tuple[Any, float]] = [(1, 1.0), ("0.25", 0.25), (0.25, 0.25), (Decimal("0.1"), 0.1)]
BOOLEAN_FORMS: list[tuple[Any, bool]] = [
    (True, True), (False, False), ("True", True), ("true", True), ("False", False), (" false ", False),
]  # fmt: skip
RIGHT = [
    *((name, *form) for name in LISTS for form in LIST_FORMS),
    *((name, *form) for name in SECONDS for form in SECOND_FORMS),
    *((name, *form) for name in DOLLARS for form in DOLLAR_FORMS),
    *((name, *form) for name in BOOLEANS for form in BOOLEAN_FORMS),
    ("caller_ip", "203.0.113.7", "203.0.113.7"),
    ("caller_ip", " 203.0.113.7\n", "203.0.113.7"),
    ("caller_ip", "2001:DB8::0:1", "2001:db8::1"),
    ("direction", "inbound", "inbound"),
    ("direction", "Outbound", "outbound"),
    ("direction", " INBOUND ", "inbound"),
]
NO_LISTS = [
    "Office 221",
    "12065551212",
    12065551212,
    [],
    "[]",
    [""],
    ["None"],
    [None],
    [True],
    [1.5],
    {"a": 1},
]
NO_BOOLEANS: list[Any] = ["yes", 1, 0, "1", [], ""]
NO_ADDRESSES: list[Any] = ["", 3405803783, ["203.0.113.7"], "203.0.113", "203.0.113.7:80", "pbx.test"]
WRONG: list[tuple[str, Any]] = [
    *((name, value) for name in LISTS for value in NO_LISTS),
    *((name, value) for name in SECONDS + DOLLARS for value in ("an hour", -1, "-1", True, [60], float("nan"), "inf")),
    *((name, value) for name in BOOLEANS for value in NO_BOOLEANS),
    *(("caller_ip", value) for value in NO_ADDRESSES),
    *(("direction", value) for value in ("both", "", "in", True, ["inbound"])),
]  # fmt: skip


def sent(**parameters: Any) -> dict[str, Any]:
    return parse_filter_parameters(parameters)[0]


def sent_unknown(**parameters: Any) -> dict[str, Any]:
    return parse_filter_parameters(parameters, allow_unknown=True)[0]


def test_filters_are_those_of_the_reference():
    assert set(FILTERS) == REFERENCE


@pytest.mark.parametrize(("name", "written", "expected"), RIGHT)
def test_value_from_a_template_gets_its_type_back(name: str, written: Any, expected: Any):
    value = sent(**{name: written})[name]

    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_invalid_value_is_rejected_with_filter_and_value(name: str, value: Any):
    with pytest.raises(FlowrouteValueError) as caught:
        sent(**{name: value})

    first, second, third = str(caught.value).splitlines()
    assert first == f"filter_parameters[{name!r}] is invalid."
    faulty = value[0] if name in LISTS and isinstance(value, list) and value else value
    subject = "It" if faulty is value else "One entry"
    assert second == f"{subject} is {faulty!r} ({type(faulty).__name__})."
    assert third.startswith("Expected ")


@pytest.mark.parametrize(
    "numbers",
    [
        pytest.param(["+12065550100", None, "+12065550199"], id="an invalid entry"),
        pytest.param(f"['+12065550100', '{'x' * 80}', '+12065550199'", id="text that is not a list"),
        pytest.param({"x" * 80: ["+12065550199"]}, id="a mapping"),
    ],
)
def test_error_does_not_show_a_whole_list_of_phone_numbers(numbers: Any):
    with pytest.raises(FlowrouteValueError, match=r"filter_parameters\['callerid_numbers'\]") as caught:
        sent(callerid_numbers=numbers)

    assert "+12065550199" not in str(caught.value)
    with pytest.raises(FlowrouteValueError, match="filter_parameters is not a mapping") as caught:
        parse_filter_parameters(f"callerid_numbers: {numbers}")
    assert "+12065550199" not in str(caught.value)


@pytest.mark.parametrize(
    ("filters", "description"),
    [
        ({}, "none"),
        ({"direction": "inbound"}, "direction: inbound"),
        (
            {"destination_numbers": ["12065550100", "12065550101", "12065550102"], "direction": "outbound"},
            "destination_numbers: 3 values, direction: outbound",
        ),
        (
            {"callerid_prefix": ["1206"], "caller_ip": "203.0.113.7"},
            "callerid_prefix: 1 value, caller_ip: 1 value",
        ),
        (
            {"duration_less_than": 60, "cost_greater_than": 0.5, "tollfree_only": True},
            "duration_less_than: 60, cost_greater_than: 0.5, tollfree_only: True",
        ),
        ({"callee": "12065550100", "portal_only": [1, 2]}, "callee: 1 value, portal_only: 2 values"),
    ],
)
def test_description_of_filters_has_counts_instead_of_personal_data(
    filters: dict[str, Any], description: str
):
    assert describe_filters(filters) == description


@pytest.mark.parametrize("value", [None, "None"])
@pytest.mark.parametrize("name", [*sorted(REFERENCE), "portal_only"])
def test_none_omits_a_filter(name: str, value: Any):
    assert parse_filter_parameters({name: value, "tollfree_only": True} | {name: value})[0] == (
        {} if name == "tollfree_only" else {"tollfree_only": True}
    )


@pytest.mark.parametrize("parameters", [None, "None", {}, "{}"])
def test_no_filters_select_every_call(parameters: Any):
    assert parse_filter_parameters(parameters) == ({}, None)


@pytest.mark.parametrize(
    "text",
    [
        "{'direction': 'inbound', 'duration_less_than': 60, 'tollfree_only': True, 'caller_ip': None}",
        '{"direction": "inbound", "duration_less_than": 60, "tollfree_only": true, "caller_ip": null}',
    ],
)
def test_mapping_rendered_to_text_is_parsed(text: str):
    filters, window = parse_filter_parameters(text)

    assert filters == {"direction": "inbound", "duration_less_than": 60, "tollfree_only": True}
    assert window is None


@pytest.mark.parametrize("parameters", ["", "direction=inbound", "[1]", 5, ["direction"], "{'a': "])
def test_value_that_is_not_a_mapping_is_rejected(parameters: Any):
    with pytest.raises(FlowrouteValueError) as caught:
        parse_filter_parameters(parameters)

    assert f"It is {parameters!r} ({type(parameters).__name__})." in str(caught.value)
    assert "Expected a dict" in str(caught.value)


def test_name_that_is_not_text_is_rejected():
    with pytest.raises(FlowrouteValueError, match=r"(?s)the name 5.*must be text"):
        parse_filter_parameters({5: "a"})


@pytest.mark.parametrize(("low", "high"), [(60, 60), ("61", 60), (1, "0.5")])
@pytest.mark.parametrize("quantity", ["duration", "cost"])
def test_range_that_selects_no_calls_is_rejected_with_both_values(quantity: str, low: Any, high: Any):
    with pytest.raises(FlowrouteValueError, match="selects no calls") as caught:
        sent(**{f"{quantity}_greater_than": low, f"{quantity}_less_than": high})

    assert f"{quantity}_greater_than is {float(low):g}" in str(caught.value).replace(".0", "")
    assert f"{quantity}_less_than is {float(high):g}" in str(caught.value).replace(".0", "")


def test_range_that_selects_calls_is_sent():
    assert sent(duration_greater_than=0, duration_less_than="60") == {
        "duration_greater_than": 0,
        "duration_less_than": 60,
    }


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("tollfree", "tollfree_only"),
        ("number_alias", "number_aliases"),
        ("duration_more_than", "duration_less_than"),
        ("start_call_starttime", WINDOW_START),
    ],
)
def test_unknown_filter_is_an_error_with_the_nearest_name(name: str, nearest: str):
    with pytest.raises(FlowrouteValueError) as caught:
        sent(**{name: [1, "a"]})

    first, second, third = str(caught.value).splitlines()
    assert first == f"filter_parameters has the unknown filter {name!r}."
    assert f"Did you mean {nearest!r}?" in second
    assert "allow_unknown_filters=True" in third


def test_unknown_filter_without_a_similar_name_suggests_none():
    with pytest.raises(FlowrouteValueError, match="unknown filter 'e911'") as caught:
        sent(e911=True)
    assert "Did you mean" not in str(caught.value)


def test_allowed_unknown_filter_is_sent_with_a_warning(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        assert sent_unknown(tollfree=[1, "a"]) == {"tollfree": [1, "a"]}

    assert len(caplog.records) == 1
    assert "unknown filter 'tollfree'" in caplog.text
    assert "Did you mean 'tollfree_only'?" in caplog.text
    assert "It is sent unchanged." in caplog.text


@pytest.mark.parametrize("name", sorted(REFERENCE))
def test_known_filter_logs_no_warning(name: str, caplog: pytest.LogCaptureFixture):
    sent(**{name: next(written for known, written, _ in RIGHT if known == name)})

    assert caplog.text == ""


@pytest.mark.parametrize("day", [date(2026, 11, 23), datetime(2026, 11, 23, tzinfo=UTC)])
def test_date_in_an_unknown_filter_is_sent_in_flowroutes_format(day: date):
    assert sent_unknown(answered_after=day) == {"answered_after": "2026-11-23 00:00:00"}


@pytest.mark.parametrize("value", [{1, 2}, float("nan"), object, b"bytes"])
def test_unknown_filter_that_json_cannot_represent_is_rejected(value: Any):
    with pytest.raises(
        FlowrouteValueError, match=r"(?s)filter_parameters\['portal_only'\].*a value that JSON can represent"
    ):
        sent_unknown(portal_only=value)


def test_window_in_the_filters_is_returned_separately():
    filters, window = parse_filter_parameters(
        {WINDOW_START: date(2026, 11, 22), WINDOW_END: "2026-11-23 01:00:00+01:00", "direction": "inbound"}
    )

    assert filters == {"direction": "inbound"}
    assert str(window) == "2026-11-22 00:00:00 .. 2026-11-23 00:00:00 UTC"


@pytest.mark.parametrize(("present", "absent"), [(WINDOW_START, WINDOW_END), (WINDOW_END, WINDOW_START)])
def test_window_with_one_end_is_rejected(present: str, absent: str):
    with pytest.raises(FlowrouteValueError, match=f"(?s)only one end.*{present} is '2026-11-23'.*{absent}"):
        parse_filter_parameters({present: "2026-11-23", absent: "None"})


def test_built_parameters_are_json_with_flowroutes_time_format():
    window = Window("2026-11-22T00:00:00+02:00", "2026-11-23")  # type: ignore[arg-type]

    parameters = build_filter_parameters(window, sent(tollfree_only="true", cost_less_than=Decimal("0.50")))

    assert json.loads(json.dumps(parameters)) == {
        "start_call_start_time": "2026-11-21 22:00:00",
        "start_call_end_time": "2026-11-23 00:00:00",
        "tollfree_only": True,
        "cost_less_than": 0.5,
    }


texts = st.text(min_size=1).filter(lambda text: text != "None")
values = {
    **dict.fromkeys(LISTS, st.lists(texts, min_size=1, max_size=4)),
    **dict.fromkeys(SECONDS, st.integers(0, 10**6) | st.floats(0, 10**6)),
    **dict.fromkeys(DOLLARS, st.floats(0, 10**6)),
    **dict.fromkeys(BOOLEANS, st.booleans()),
    "caller_ip": st.ip_addresses().map(str),
    "direction": st.sampled_from(["inbound", "outbound"]),
}


def are_possible(filters: dict[str, Any]) -> bool:
    return all(
        filters.get(f"{quantity}_greater_than", -1) < filters.get(f"{quantity}_less_than", float("inf"))
        for quantity in ("duration", "cost")
    )


requests = st.fixed_dictionaries({}, optional=values).filter(are_possible)


@given(requests)
def test_parsing_filters_again_changes_nothing(written: dict[str, Any]):
    filters, _ = parse_filter_parameters(written)

    again, _ = parse_filter_parameters(filters)
    assert again == filters
    assert {name: type(value) for name, value in again.items()} == {
        name: type(value) for name, value in filters.items()
    }


@given(requests)
def test_filters_survive_rendering_one_by_one_and_as_a_whole(written: dict[str, Any]):
    filters, _ = parse_filter_parameters(written)

    assert parse_filter_parameters({name: str(value) for name, value in written.items()})[0] == filters
    assert parse_filter_parameters(str(written))[0] == filters
    assert parse_filter_parameters(json.dumps(written))[0] == filters


@pytest.mark.parametrize("value", [None, "None"])
def test_missing_callback_url_is_none(value: Any):
    assert parse_callback_url(value) is None


@pytest.mark.parametrize("value", ["http://example.com", "https://example.com:8443/cdrs?token=x"])
def test_callback_url_is_unchanged(value: str):
    assert parse_callback_url(value) == value


@pytest.mark.parametrize(
    "value", ["", "example.com/cdrs", "ftp://example.com", "https://", 5, ["https://example.com"]]
)
def test_invalid_callback_url_is_rejected(value: Any):
    with pytest.raises(FlowrouteValueError) as caught:
        parse_callback_url(value)
    assert f"callback_url is not a URL that Flowroute can reach.\nIt is {value!r}." in str(caught.value)
