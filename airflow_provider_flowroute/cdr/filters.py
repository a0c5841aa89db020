"""The ``filter_parameters`` of an export: known names, their types, and when two requests are the same.

Names and types are those of Flowroute's "Query CDRs" page. A template turns what it renders into text, and
native rendering turns text that looks like a number into one; both are taken back here, once, so that
nothing else needs to know.
"""

from __future__ import annotations

import ast
import difflib
import json
import logging
from collections.abc import Callable, Mapping
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

DIRECTIONS = ("inbound", "outbound")


def _invalid(name: str, value: object, expected: str) -> FlowrouteValueError:
    return FlowrouteValueError(
        f"filter_parameters[{name!r}] is {value!r} ({type(value).__name__}): expected {expected}."
    )


def parse_literal(text: str) -> Any:
    """What a template made text of: JSON, or a Python literal."""
    # JSON first: read as Python, its escapes would come out as other text.
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return None


def parse_strings(name: str, value: object) -> list[str]:
    expected = "a list of text, such as ['Office 221']"
    items = parse_literal(value) if isinstance(value, str) else value
    if not isinstance(items, list | tuple | set | frozenset) or not items:
        raise _invalid(name, value, f"{expected}, with at least one entry; leave the name out to select all")
    texts = []
    for item in items:
        # Native rendering turns '+12065551212' into an int. Flowroute takes numbers with or without '+'.
        text = str(item) if isinstance(item, int) and not isinstance(item, bool) else item
        if not isinstance(text, str) or text in ("", "None"):
            raise _invalid(name, value, f"{expected}; the entry {item!r} is not")
        texts.append(text)
    return texts


def _string(name: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise _invalid(name, value, "text")
    return value


def _decimal(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        return None
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _number(name: str, value: object, unit: str) -> int | float:
    number = _decimal(value)
    if number is None or number < 0:
        raise _invalid(name, value, f"a number of {unit}, 0 or more")
    return int(number) if number == number.to_integral_value() else float(number)


def parse_seconds(name: str, value: object) -> int | float:
    return _number(name, value, "seconds")


def parse_dollars(name: str, value: object) -> float:
    return float(_number(name, value, "US dollars"))


def parse_boolean(name: str, value: object) -> bool:
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    if not isinstance(value, bool):
        raise _invalid(name, value, "true or false")
    return value


def _direction(name: str, value: object) -> str:
    if not isinstance(value, str) or value.strip().lower() not in DIRECTIONS:
        raise _invalid(name, value, "'inbound' or 'outbound'")
    return value.strip().lower()


#: Every documented filter but the window, with what reads its value. ``custom_x_tag`` is the older
#: document's name for ``custom_x_tags``.
FILTERS: Mapping[str, Callable[[str, object], Any]] = {
    "number_aliases": parse_strings,
    "number_aliases_contains": parse_strings,
    "destination_numbers": parse_strings,
    "callerid_numbers": parse_strings,
    "custom_x_tags": parse_strings,
    "custom_x_tag": parse_strings,
    "caller_ip": _string,
    "duration_greater_than": parse_seconds,
    "duration_less_than": parse_seconds,
    "cost_greater_than": parse_dollars,
    "cost_less_than": parse_dollars,
    "destination_countries_included": parse_strings,
    "destination_countries_excluded": parse_strings,
    "tollfree_only": parse_boolean,
    "direction": _direction,
    "exclude_cancelled": parse_boolean,
    "destination_prefix": parse_strings,
    "callerid_prefix": parse_strings,
}


def _unknown(name: str, value: object) -> Any:
    nearest = difflib.get_close_matches(name, [*FILTERS, WINDOW_START, WINDOW_END], n=1)
    log.warning(
        "filter_parameters has %r, which Flowroute's documents do not name%s It is sent as it stands.",
        name,
        f"; did you mean {nearest[0]!r}?" if nearest else ".",
    )
    if isinstance(value, date):
        return format_instant(parse_instant(value, f"filter_parameters[{name!r}]"))
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        raise _invalid(name, value, "something JSON can hold") from None
    return value


def _as_mapping(parameters: object) -> Mapping[str, object]:
    if parameters is None or parameters == "None":
        return {}
    value = parse_literal(parameters) if isinstance(parameters, str) else parameters
    if not isinstance(value, Mapping):
        raise FlowrouteValueError(
            f"filter_parameters is {parameters!r} ({type(parameters).__name__}): expected a dict of names and values."
        )
    for name in value:
        if not isinstance(name, str):
            raise FlowrouteValueError(f"filter_parameters has the name {name!r}: names are text.")
    return value


def parse_filter_parameters(parameters: object) -> tuple[dict[str, Any], Window | None]:
    """Check what the user wrote, and give each value its type back.

    A value of None (also the text ``'None'`` that a template makes of it) leaves the filter out.

    :param parameters: a mapping, None, or the text a template made of a mapping.
    :return: the filters without the window, and the window where it stands among them.
    :raises FlowrouteValueError: naming the filter and its value.
    """
    given = {name: value for name, value in _as_mapping(parameters).items() if value not in (None, "None")}
    ends = [name for name in (WINDOW_START, WINDOW_END) if name in given]
    if len(ends) == 1:
        raise FlowrouteValueError(
            f"filter_parameters has {ends[0]} ({given[ends[0]]!r}) alone: a window needs both "
            f"{WINDOW_START} and {WINDOW_END}."
        )
    window = Window(given.pop(WINDOW_START), given.pop(WINDOW_END)) if ends else None  # type: ignore[arg-type]
    filters = {
        name: FILTERS[name](name, value) if name in FILTERS else _unknown(name, value)
        for name, value in given.items()
    }
    for quantity in ("duration", "cost"):
        low, high = filters.get(f"{quantity}_greater_than"), filters.get(f"{quantity}_less_than")
        if low is not None and high is not None and low >= high:
            raise FlowrouteValueError(
                f"filter_parameters selects nothing: {quantity}_greater_than is {low} and "
                f"{quantity}_less_than is {high}. The first must be below the second."
            )
    return filters, window


def build_filter_parameters(window: Window, filters: Mapping[str, Any]) -> dict[str, Any]:
    """The ``filter_parameters`` of a request's body.

    :param window: which calls, by when they began.
    :param filters: from :func:`parse_filter_parameters`.
    """
    return {
        WINDOW_START: format_instant(window.start),
        WINDOW_END: format_instant(window.end),
        **filters,
    }


def parse_callback_url(value: object) -> str | None:
    """Check where Flowroute is to POST its notes.

    :param value: a URL, or None (also the text a template makes of it).
    :raises FlowrouteValueError: naming the value.
    """
    if value in (None, "None"):
        return None
    url = urlsplit(value) if isinstance(value, str) else None
    if url is None or url.scheme not in ("http", "https") or not url.netloc:
        raise FlowrouteValueError(
            f"callback_url is {value!r}: expected an http or https URL that Flowroute can reach."
        )
    return str(value)
