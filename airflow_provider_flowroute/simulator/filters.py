"""The filter parameters: their types, and the calls that each one selects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from airflow_provider_flowroute.simulator.calls import Call
from airflow_provider_flowroute.simulator.dialplan import DESTINATIONS, is_tollfree

#: Parameters by the type of their value. Any other name is accepted and has no effect.
LISTS = (
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
)
NUMBERS = ("duration_greater_than", "duration_less_than", "cost_greater_than", "cost_less_than")
FLAGS = ("tollfree_only", "exclude_cancelled")
TEXTS = ("caller_ip",)
DIRECTIONS = ("inbound", "outbound")

_COUNTRY_NAMES = {place.iso: place.country for place in DESTINATIONS}


def build_predicate(filter_parameters: Mapping[str, Any]) -> Callable[[Call], bool]:
    """Return a function that tests whether a call matches the filters.

    An empty list and ``false`` have no effect.

    :param filter_parameters: as in the request, already validated.
    """
    tests = [
        (test, filter_parameters[name])
        for name, test in _TESTS.items()
        if name in filter_parameters and _restricts(filter_parameters[name])
    ]
    return lambda call: all(test(call, value) for test, value in tests)


def _restricts(value: object) -> bool:
    return value is not False and value != []


def _digits(number: str) -> str:
    return number.removeprefix("+")


def _one_of(column: str) -> Callable[[Call, list[str]], bool]:
    return lambda call, entries: call.row[column] in entries


def _number_in(column: str) -> Callable[[Call, list[str]], bool]:
    return lambda call, entries: _digits(call.row[column]) in map(_digits, entries)


def _begins_with(column: str) -> Callable[[Call, list[str]], bool]:
    return lambda call, entries: _digits(call.row[column]).startswith(tuple(map(_digits, entries)))


def _alias_contains(call: Call, entries: list[str]) -> bool:
    return any(entry in call.row["number_alias"] for entry in entries)


def _from_ip(call: Call, address: str) -> bool:
    return address in (call.row["customer_ip"], call.row["customer_ip"].partition(":")[0])


def _to_country(call: Call, entries: list[str]) -> bool:
    names = (call.country, _COUNTRY_NAMES[call.country], call.row["destination_name"])
    return any(entry.upper() in names for entry in entries)


_TESTS: dict[str, Callable[[Call, Any], bool]] = {
    "number_aliases": _one_of("number_alias"),
    "number_aliases_contains": _alias_contains,
    "destination_numbers": _number_in("destination"),
    "callerid_numbers": _number_in("callerid"),
    "custom_x_tags": _one_of("custom_x_tag"),
    "custom_x_tag": _one_of("custom_x_tag"),
    "caller_ip": _from_ip,
    "duration_greater_than": lambda call, seconds: int(call.row["duration"]) > seconds,
    "duration_less_than": lambda call, seconds: int(call.row["duration"]) < seconds,
    "cost_greater_than": lambda call, cost: Decimal(call.row["total_cost"]) > Decimal(str(cost)),
    "cost_less_than": lambda call, cost: Decimal(call.row["total_cost"]) < Decimal(str(cost)),
    "destination_countries_included": _to_country,
    "destination_countries_excluded": lambda call, entries: not _to_country(call, entries),
    "tollfree_only": lambda call, _: is_tollfree(call.row["destination"]),
    "direction": lambda call, direction: call.row["direction"].lower() == direction,
    "exclude_cancelled": lambda call, _: call.row["result"] != "cancelled",
    "destination_prefix": _begins_with("destination"),
    "callerid_prefix": _begins_with("callerid"),
}
