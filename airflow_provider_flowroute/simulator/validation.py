"""The validation of requests. It shares no code with the provider's client, so that both cannot share a mistake."""

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
    """A request that is answered with an error.

    :param status: the HTTP status.
    :param detail: the cause.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.title = HTTPStatus(status).phrase


@dataclass(frozen=True)
class ExportRequest:
    """A valid request to create an export.

    :param start: the start of the window, UTC.
    :param end: the end of the window, UTC.
    :param filter_parameters: the filters as sent, including the window.
    :param callback_url: where to send the callback.
    """

    start: datetime
    end: datetime
    filter_parameters: dict[str, Any]
    callback_url: str | None


@dataclass(frozen=True)
class Page:
    """A page of the list of exports.

    :param status: only list exports with this status.
    :param limit: the maximum number of exports.
    :param offset: the number of exports to skip.
    """

    status: str | None
    limit: int
    offset: int


def parse_create(body: bytes) -> ExportRequest:
    """Parse and validate the body of a request to create an export.

    :param body: the body as received.
    :raises RefusedError: if the body is not valid.
    """
    try:
        document = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise RefusedError(400, "The request body is not valid JSON.") from None
    if not isinstance(document, dict):
        raise RefusedError(400, "The request body must be a JSON object.")
    data = _object(document, "data")
    if _required(data, "type") != "cdrexport":
        _invalid("type must be cdrexport.")
    attributes = _object(data, "attributes")
    callback_url = attributes.get("callback_url")
    if callback_url is not None and not _is_http_url(callback_url):
        _invalid("callback_url must be an HTTP or HTTPS URL.")
    filter_parameters = _object(attributes, "filter_parameters")
    start, end = _window(filter_parameters)
    for name, value in filter_parameters.items():
        _validate_filter(name, value)
    return ExportRequest(start, end, filter_parameters, callback_url)


def parse_page(query: Mapping[str, str]) -> Page:
    """Parse and validate the query of a request to list the exports.

    :param query: the query parameters.
    :raises RefusedError: if a parameter is not valid.
    """
    status = query.get("status") or None
    if status is not None and status not in STATUSES:
        _invalid(f"status must be one of {', '.join(STATUSES)}.")
    limit = _integer(query, "limit", 10)
    if not 1 <= limit <= 200:
        _invalid("limit must be between 1 and 200.")
    return Page(status, limit, _integer(query, "offset", 0))


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _invalid(detail: str) -> NoReturn:
    raise RefusedError(422, f"Invalid value: {detail}")


def _required(parent: Mapping[str, Any], name: str) -> Any:
    if name not in parent:
        raise RefusedError(422, f"Missing required parameter: {name}.")
    return parent[name]


def _object(parent: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = _required(parent, name)
    if not isinstance(value, dict):
        _invalid(f"{name} must be an object.")
    return value


def _is_http_url(value: object) -> bool:
    return isinstance(value, str) and re.match(r"https?://[^/\s]", value) is not None


def _window(filter_parameters: Mapping[str, Any]) -> tuple[datetime, datetime]:
    start, end = (
        _instant(filter_parameters, name) for name in ("start_call_start_time", "start_call_end_time")
    )
    if start > end:
        _invalid("start_call_start_time must not be after start_call_end_time.")
    if end - start > LONGEST_WINDOW:
        _invalid(f"the time range must not be longer than {LONGEST_WINDOW.days} days.")
    return start, end


def _instant(filter_parameters: Mapping[str, Any], name: str) -> datetime:
    text = _required(filter_parameters, name)
    if isinstance(text, str) and _INSTANT.fullmatch(text):
        try:
            return datetime.fromisoformat(text).replace(tzinfo=UTC)
        except ValueError:
            pass
    _invalid(f"{name} is improperly formatted.")


def _validate_filter(name: str, value: object) -> None:
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


def _integer(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not re.fullmatch("[0-9]{1,9}", text):
        _invalid(f"{name} must be a whole number of 0 or more.")
    return int(text)
