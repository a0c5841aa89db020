"""The filter parameters: their types, and the calls that each one selects."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from airflow_provider_flowroute.simulator.calls import Call
from airflow_provider_flowroute.simulator.dialplan import DESTINATIONS, is_tollfree

_COUNTRY_NAMES = {place.iso: place.country for place in DESTINATIONS}


def build_predicate(filter_parameters: Mapping[str, Any]) -> Callable[[Call], bool]:
    """Return a function that tests whether a call matches valid filters.

    An empty list and ``false`` have no effect.
    """
    tests = [
        (FILTERS[name][1], value)
        for name, value in filter_parameters.items()
        if name in FILTERS and value is not False and value != []
    ]
    return lambda call: all(selects(call, value) for selects, value in tests)


def _digits(number: str) -> str:
    return number.removeprefix("+")


def _cost(call: Call) -> Decimal:
    return Decimal(call.row["total_cost"])


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


#: The type of a value: its name, and a function that tests a value.
Kind = tuple[str, Callable[[Any], bool]]

_STRINGS: Kind = (
    "an array of strings",
    lambda value: isinstance(value, list) and all(isinstance(entry, str) for entry in value),
)
_NUMBER: Kind = ("a number", lambda value: type(value) in (int, float) and -math.inf < value < math.inf)
_FLAG: Kind = ("a boolean", lambda value: isinstance(value, bool))
_TEXT: Kind = ("a string", lambda value: isinstance(value, str))
_DIRECTION: Kind = ("either inbound or outbound", lambda value: value in ("inbound", "outbound"))

#: The type of each parameter, and whether a call matches its value. Any other name has no effect.
FILTERS: dict[str, tuple[Kind, Callable[[Call, Any], bool]]] = {
    "number_aliases": (_STRINGS, _one_of("number_alias")),
    "number_aliases_contains": (_STRINGS, _alias_contains),
    "destination_numbers": (_STRINGS, _number_in("destination")),
    "callerid_numbers": (_STRINGS, _number_in("callerid")),
    "custom_x_tags": (_STRINGS, _one_of("custom_x_tag")),
    "custom_x_tag": (_STRINGS, _one_of("custom_x_tag")),
    "caller_ip": (_TEXT, _from_ip),
    "duration_greater_than": (_NUMBER, lambda call, seconds: int(call.row["duration"]) > seconds),
    "duration_less_than": (_NUMBER, lambda call, seconds: int(call.row["duration"]) < seconds),
    "cost_greater_than": (_NUMBER, lambda call, cost: _cost(call) > Decimal(str(cost))),
    "cost_less_than": (_NUMBER, lambda call, cost: _cost(call) < Decimal(str(cost))),
    "destination_countries_included": (_STRINGS, _to_country),
    "destination_countries_excluded": (_STRINGS, lambda call, entries: not _to_country(call, entries)),
    "tollfree_only": (_FLAG, lambda call, _: is_tollfree(call.row["destination"])),
    "direction": (_DIRECTION, lambda call, direction: call.row["direction"].lower() == direction),
    "exclude_cancelled": (_FLAG, lambda call, _: call.row["result"] != "cancelled"),
    "destination_prefix": (_STRINGS, _begins_with("destination")),
    "callerid_prefix": (_STRINGS, _begins_with("callerid")),
}
