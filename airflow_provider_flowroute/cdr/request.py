"""The request for an export, and when two requests are the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, unquote_plus, urlsplit

from airflow_provider_flowroute.cdr.export import CdrExport
from airflow_provider_flowroute.cdr.filters import FILTERS, parse_literal
from airflow_provider_flowroute.cdr.window import WINDOW_END, WINDOW_START, parse_instant
from airflow_provider_flowroute.exceptions import FlowrouteValueError


@dataclass(frozen=True)
class CdrExportRequest:
    """One request for an export.

    :param filter_parameters: window and filters, from :func:`.filters.build_filter_parameters`.
    :param callback_url: URL to which Flowroute POSTs a callback when the export changes.
    """

    filter_parameters: Mapping[str, Any]
    callback_url: str | None = None

    def matches(self, export: CdrExport) -> bool:
        """Return whether this request creates such an export: the same calls and the same callback URL.

        An export for which Flowroute returns no callback URL can match any.

        :param export: an export from any endpoint.
        """
        return (
            export.callback_url in (None, "None")
            or _canonical_url(self.callback_url) == _canonical_url(export.callback_url)
        ) and same_request(self.filter_parameters, export.filter_parameters)

    @property
    def fingerprint(self) -> str:
        """Short text that identifies this request."""
        return fingerprint({**self.filter_parameters, "callback_url": self.callback_url})


def _canonical_url(url: str | None) -> object:
    """Return a value that is equal for URLs with other escapes, another case of the host or a trailing slash."""
    try:
        parts = urlsplit(url or "")
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return url
    user = parts.netloc.rpartition("@")[0]
    return (
        parts.scheme,
        user,
        parts.hostname,
        port,
        unquote(parts.path).rstrip("/"),
        unquote_plus(parts.query),
    )


def _canonical(name: str, value: object) -> object:
    """Return a value that is equal for all formats of the same filter; None for the default."""
    if name in (WINDOW_START, WINDOW_END):
        return parse_instant(value, name)
    if name not in FILTERS:
        literal = parse_literal(value) if isinstance(value, str) else value
        return json.dumps(value if literal is None else literal, sort_keys=True, default=str)
    match FILTERS[name](name, value):
        case list(items):
            return frozenset(items)
        case bool(flag):
            return flag or None
        case int() | float() as number:
            # float, as in JSON: 0.1 may come back as 0.10 or 0.1000000000000000055.
            return float(number)
        case text:
            return text


def _canonical_request(parameters: Mapping[str, Any]) -> dict[str, object]:
    canonical = {}
    for name, value in parameters.items():
        if value in (None, "None", [], "[]"):
            continue
        try:
            canonical[name] = _canonical(name, value)
        except FlowrouteValueError:
            # This package never sends such a value. Its text still distinguishes two of them.
            canonical[name] = repr(value)
    return {name: value for name, value in canonical.items() if value is not None}


def same_request(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Return whether two ``filter_parameters``, including their windows, select the same calls.

    Flowroute returns a request in other formats than it was sent: times in ISO 8601 with any offset, lists as
    text or in another order. So instants, sets, numbers and booleans are compared, not strings.

    :param a: as sent, or as returned by any endpoint.
    :param b: as sent, or as returned by any endpoint.
    """
    return _canonical_request(a) == _canonical_request(b)


def fingerprint(parameters: Mapping[str, Any]) -> str:
    """Return a short text that is equal for the same request and differs for other requests.

    :param parameters: as sent, or as returned by any endpoint.
    """
    canonical = json.dumps(
        _canonical_request(parameters),
        sort_keys=True,
        default=lambda value: sorted(value) if isinstance(value, frozenset) else str(value),
    )
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]
