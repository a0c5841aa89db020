"""The validation of requests. It shares no code with the provider, so that both cannot share a mistake."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from aiohttp import web

from airflow_provider_flowroute.simulator.filters import FILTERS

LONGEST_WINDOW = timedelta(days=92)
STATUSES = ("processing", "completed", "failed")

_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")


@dataclass(frozen=True)
class ExportRequest:
    """A valid request to create an export. The window is in UTC; the filters are as sent, with the window."""

    start: datetime
    end: datetime
    filter_parameters: dict[str, Any]
    callback_url: str | None


@dataclass(frozen=True)
class Page:
    """A page of the list of exports, or of those with a status."""

    status: str | None
    limit: int
    offset: int


def parse_create(body: bytes) -> ExportRequest:
    """Parse the body of a request to create an export, or raise an HTTP error."""
    try:
        document = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise web.HTTPBadRequest(reason="The request body is not valid JSON.") from None
    if not isinstance(document, dict):
        raise web.HTTPBadRequest(reason="The request body must be a JSON object.")
    data = _object(document, "data")
    if _required(data, "type") != "cdrexport":
        _invalid("type must be cdrexport.")
    attributes = _object(data, "attributes")
    callback_url = attributes.get("callback_url")
    if callback_url is not None and not _is_http_url(callback_url):
        _invalid("callback_url must be an HTTP or HTTPS URL.")
    filter_parameters = _object(attributes, "filter_parameters")
    start, end = _window(filter_parameters)
    for name, ((expected, is_valid), _) in FILTERS.items():
        if name in filter_parameters and not is_valid(filter_parameters[name]):
            _invalid(f"{name} must be {expected}.")
    return ExportRequest(start, end, filter_parameters, callback_url)


def parse_page(query: Mapping[str, str]) -> Page:
    """Parse the query of a request to list the exports, or raise an HTTP error."""
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
    raise web.HTTPUnprocessableEntity(reason=f"Invalid value: {detail}")


def _required(parent: Mapping[str, Any], name: str) -> Any:
    if name not in parent:
        raise web.HTTPUnprocessableEntity(reason=f"Missing required parameter: {name}.")
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


def _integer(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not re.fullmatch("[0-9]{1,9}", text):
        _invalid(f"{name} must be a whole number of 0 or more.")
    return int(text)
