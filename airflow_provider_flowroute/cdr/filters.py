"""The ``filter_parameters`` of an export: parse and validate them.

Names and types are those of Flowroute's "Query CDRs" page. A template converts a value to text, and native rendering
converts text that looks like a number to a number. This module restores the type of each value.
"""

from __future__ import annotations

import ast
import difflib
import ipaddress
import json
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_flowroute.cdr.window import (
    WINDOW_END,
    WINDOW_START,
    Window,
    format_instant,
    parse_instant,
)
from airflow_provider_flowroute.exceptions import FlowrouteValueError

log = logging.getLogger(__name__)


#: Longest value in an error, in characters. A filter can list many phone numbers, which are personal data.
_MAX_SHOWN = 40


def _shown(value: object) -> str:
    text = repr(value)
    shown = text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
    return f"{shown} ({type(value).__name__})"


def _invalid(name: str, value: object, expected: str, subject: str = "It") -> FlowrouteValueError:
    return FlowrouteValueError(
        f"filter_parameters[{name!r}] is invalid.\n{subject} is {_shown(value)}.\nExpected {expected}."
    )


def parse_literal(text: str) -> Any:
    """Parse the JSON or the Python literal that a template rendered to text; None if it is neither."""
    # JSON first, because Python would decode its escape sequences to other text.
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return None


def _parse_strings(name: str, value: object) -> list[str]:
    expected = "a list of text, such as ['Office 221']"
    items = parse_literal(value) if isinstance(value, str) else value
    if not isinstance(items, list | tuple | set | frozenset) or not items:
        raise _invalid(name, value, f"{expected}, with at least one entry. To select all, omit the filter")
    texts = []
    for item in items:
        # Native rendering converts '+12065551212' to an int. Flowroute accepts numbers with or without '+'.
        text = str(item) if isinstance(item, int) and not isinstance(item, bool) else item
        if not isinstance(text, str) or text in ("", "None"):
            raise _invalid(name, item, expected, subject="One entry")
        texts.append(text)
    return texts


def _parse_ip_address(name: str, value: object) -> str:
    try:
        return str(ipaddress.ip_address(value.strip() if isinstance(value, str) else ""))
    except ValueError:
        raise _invalid(name, value, "an IP address, such as '203.0.113.7'") from None


def _parse_number(name: str, value: object, unit: str) -> int | float:
    number = Decimal("NaN")
    if isinstance(value, int | float | Decimal | str) and not isinstance(value, bool):
        with suppress(InvalidOperation):
            number = Decimal(str(value).strip())
    if not number.is_finite() or number < 0:
        raise _invalid(name, value, f"a number of {unit}, 0 or more")
    return int(number) if number == number.to_integral_value() else float(number)


def _parse_seconds(name: str, value: object) -> int | float:
    return _parse_number(name, value, "seconds")


def _parse_dollars(name: str, value: object) -> float:
    return float(_parse_number(name, value, "US dollars"))


def _parse_boolean(name: str, value: object) -> bool:
    flag = {"true": True, "false": False}.get(str(value).strip().lower())
    if flag is None:
        raise _invalid(name, value, "true or false")
    return flag


def _parse_direction(name: str, value: object) -> str:
    direction = str(value).strip().lower()
    if direction not in ("inbound", "outbound"):
        raise _invalid(name, value, "'inbound' or 'outbound'")
    return direction


#: Every documented filter except the window, with the parser of its value. ``custom_x_tag`` is the name of
#: ``custom_x_tags`` in an older document. Flowroute's page describes ``cost_greater_than`` as "less than" by mistake.
FILTERS: Mapping[str, Callable[[str, object], Any]] = {
    "number_aliases": _parse_strings,
    "number_aliases_contains": _parse_strings,
    "destination_numbers": _parse_strings,
    "callerid_numbers": _parse_strings,
    "custom_x_tags": _parse_strings,
    "custom_x_tag": _parse_strings,
    "caller_ip": _parse_ip_address,
    "duration_greater_than": _parse_seconds,
    "duration_less_than": _parse_seconds,
    "cost_greater_than": _parse_dollars,
    "cost_less_than": _parse_dollars,
    "destination_countries_included": _parse_strings,
    "destination_countries_excluded": _parse_strings,
    "tollfree_only": _parse_boolean,
    "direction": _parse_direction,
    "exclude_cancelled": _parse_boolean,
    "destination_prefix": _parse_strings,
    "callerid_prefix": _parse_strings,
}


def _check_name(name: str, allow_unknown: bool) -> None:
    if name in FILTERS:
        return
    nearest = difflib.get_close_matches(name, [*FILTERS, WINDOW_START, WINDOW_END], n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    if allow_unknown:
        log.warning("filter_parameters has the unknown filter %r.%s It is sent unchanged.", name, hint)
        return
    raise FlowrouteValueError(
        f"filter_parameters has the unknown filter {name!r}.\n"
        f"Flowroute may ignore it and export every call.{hint}\n"
        f"Correct the name, or set allow_unknown_filters=True to send the filter unchanged."
    )


def _parse_unknown(name: str, value: object) -> Any:
    if isinstance(value, date):
        return format_instant(parse_instant(value, f"filter_parameters[{name!r}]"))
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        raise _invalid(name, value, "a value that JSON can represent") from None
    return value


def _as_mapping(parameters: object) -> Mapping[str, object]:
    if parameters is None or parameters == "None":
        return {}
    value = parse_literal(parameters) if isinstance(parameters, str) else parameters
    if not isinstance(value, Mapping):
        raise FlowrouteValueError(
            f"filter_parameters is not a mapping.\n"
            f"It is {_shown(parameters)}.\n"
            f"Expected a dict of names and values."
        )
    for name in value:
        if not isinstance(name, str):
            raise FlowrouteValueError(
                f"filter_parameters has the name {name!r}.\nA name must be text.\nWrite it in quotation marks."
            )
    return value


def parse_filter_parameters(
    parameters: object, allow_unknown: bool = False
) -> tuple[dict[str, Any], Window | None]:
    """Validate the user's filters and restore the type of each value.

    A filter whose value is None (or the text ``'None'`` from a template) is omitted.

    :param parameters: a mapping, None, or the text that a template made of a mapping.
    :param allow_unknown: accept a filter that Flowroute's documents do not name, with a warning.
    :return: the filters without the window, and the window if the mapping contains it.
    :raises FlowrouteValueError: a filter is unknown or has an invalid value. The message names it.
    """
    given = {name: value for name, value in _as_mapping(parameters).items() if value not in (None, "None")}
    ends = [name for name in (WINDOW_START, WINDOW_END) if name in given]
    if len(ends) == 1:
        raise FlowrouteValueError(
            f"filter_parameters has only one end of the window.\n"
            f"{ends[0]} is {given[ends[0]]!r}.\n"
            f"Give both {WINDOW_START} and {WINDOW_END}."
        )
    window = Window(given.pop(WINDOW_START), given.pop(WINDOW_END)) if ends else None  # type: ignore[arg-type]
    for name in given:
        _check_name(name, allow_unknown)
    filters = {name: FILTERS.get(name, _parse_unknown)(name, value) for name, value in given.items()}
    for quantity in ("duration", "cost"):
        low, high = filters.get(f"{quantity}_greater_than"), filters.get(f"{quantity}_less_than")
        if low is not None and high is not None and low >= high:
            raise FlowrouteValueError(
                f"filter_parameters selects no calls by {quantity}.\n"
                f"{quantity}_greater_than is {low} and {quantity}_less_than is {high}.\n"
                f"Make {quantity}_greater_than the smaller one."
            )
    return filters, window


def describe_filters(filters: Mapping[str, Any]) -> str:
    """Describe filters for a log, with counts instead of values that can be personal data.

    :param filters: from :func:`parse_filter_parameters`.
    """
    described = []
    for name, value in filters.items():
        if FILTERS.get(name) in (None, _parse_strings, _parse_ip_address):
            count = len(value) if isinstance(value, list) else 1
            value = "1 value" if count == 1 else f"{count} values"
        described.append(f"{name}: {value}")
    return ", ".join(described) or "none"


def build_filter_parameters(window: Window, filters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ``filter_parameters`` of a request's body.

    :param window: when the calls start.
    :param filters: from :func:`parse_filter_parameters`.
    """
    return {
        WINDOW_START: format_instant(window.start),
        WINDOW_END: format_instant(window.end),
        **filters,
    }


def parse_callback_url(value: object) -> str | None:
    """Validate a callback URL.

    :param value: a URL, or None (or the text ``'None'`` from a template).
    :raises FlowrouteValueError: the value is not an http or https URL.
    """
    if value in (None, "None"):
        return None
    url = urlsplit(value) if isinstance(value, str) else None
    if url is None or url.scheme not in ("http", "https") or not url.netloc:
        raise FlowrouteValueError(
            f"callback_url is not a URL that Flowroute can reach.\n"
            f"It is {value!r}.\n"
            f"Give a complete http or https URL."
        )
    return str(value)
