"""What the service refuses: checks of requests, written without the provider's own knowledge of them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, NoReturn

from airflow_provider_flowroute.simulator import filters

LONGEST_WINDOW = timedelta(days=92)
STATUSES = ("processing", "completed", "failed")

_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")


class RefusedError(Exception):
    """A request the service answers with an error.

    :param status: the HTTP status.
    :param detail: what is wrong with it.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.title = HTTPStatus(status).phrase


@dataclass(frozen=True)
class ExportRequest:
    """A request for an export that passed.

    :param start: the window's first instant, UTC.
    :param end: the window's end, UTC.
    :param filter_parameters: the filters as sent, the window among them.
    :param callback_url: whom to tell when it is done.
    """

    start: datetime
    end: datetime
    filter_parameters: dict[str, Any]
    callback_url: str | None


@dataclass(frozen=True)
class Page:
    """Which exports a list is to show.

    :param status: only those of this status.
    :param limit: how many at most.
    :param offset: how many to pass over.
    """

    status: str | None
    limit: int
    offset: int


def check_create(body: bytes) -> ExportRequest:
    """Check the body of a request to create an export.

    :param body: as received.
    """
    try:
        document = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise RefusedError(400, "The request body is not valid JSON.") from None
    if not isinstance(document, dict):
        raise RefusedError(400, "The request body must be a JSON object.")
    data = _object(document, "data")
    if _required(data, "type") != "cdrexport":
        _invalid("type must be cdrexport.")
    attributes = _object(data, "attributes")
    callback_url = attributes.get("callback_url")
    if callback_url is not None and not _is_web_address(callback_url):
        _invalid("callback_url must be an HTTP or HTTPS URL.")
    filters = _object(attributes, "filter_parameters")
    start, end = _window(filters)
    for name, value in filters.items():
        _check_filter(name, value)
    return ExportRequest(start, end, filters, callback_url)


def check_list(query: Mapping[str, str]) -> Page:
    """Check the query of a request to list the exports.

    :param query: its parameters.
    """
    status = query.get("status") or None
    if status is not None and status not in STATUSES:
        _invalid(f"status must be one of {', '.join(STATUSES)}.")
    limit = _whole(query, "limit", 10)
    if not 1 <= limit <= 200:
        _invalid("limit must be between 1 and 200.")
    return Page(status, limit, _whole(query, "offset", 0))


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _invalid(what: str) -> NoReturn:
    raise RefusedError(422, f"Invalid value: {what}")


def _required(parent: Mapping[str, Any], name: str) -> Any:
    if name not in parent:
        raise RefusedError(422, f"Missing required parameter: {name}.")
    return parent[name]


def _object(parent: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = _required(parent, name)
    if not isinstance(value, dict):
        _invalid(f"{name} must be an object.")
    return value


def _is_web_address(value: object) -> bool:
    return isinstance(value, str) and re.match(r"https?://[^/\s]", value) is not None


def _window(filters: Mapping[str, Any]) -> tuple[datetime, datetime]:
    start, end = (_instant(filters, name) for name in ("start_call_start_time", "start_call_end_time"))
    if start > end:
        _invalid("start_call_start_time must not be after start_call_end_time.")
    if end - start > LONGEST_WINDOW:
        _invalid(f"the time range must not be longer than {LONGEST_WINDOW.days} days.")
    return start, end


def _instant(filters: Mapping[str, Any], name: str) -> datetime:
    text = _required(filters, name)
    if isinstance(text, str) and _INSTANT.fullmatch(text):
        try:
            return datetime.fromisoformat(text).replace(tzinfo=UTC)
        except ValueError:
            pass
    _invalid(f"{name} is improperly formatted.")


def _check_filter(name: str, value: object) -> None:
    if name in filters.LISTS:
        if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
            _invalid(f"{name} must be an array of strings.")
    elif name in filters.NUMBERS:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            _invalid(f"{name} must be a number.")
    elif name in filters.FLAGS:
        if not isinstance(value, bool):
            _invalid(f"{name} must be a boolean.")
    elif name in filters.TEXTS:
        if not isinstance(value, str):
            _invalid(f"{name} must be a string.")
    elif name == "direction" and value not in filters.DIRECTIONS:
        _invalid("direction must be either inbound or outbound.")


def _whole(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not re.fullmatch("[0-9]{1,9}", text):
        _invalid(f"{name} must be a whole number of 0 or more.")
    return int(text)
