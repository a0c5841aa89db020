"""What an export is asked for with, and which exports answer to it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_flowroute.cdr.export import CdrExport
from airflow_provider_flowroute.cdr.filters import (
    FILTERS,
    parse_boolean,
    parse_dollars,
    parse_literal,
    parse_seconds,
    parse_strings,
)
from airflow_provider_flowroute.cdr.window import WINDOW_END, WINDOW_START, parse_instant
from airflow_provider_flowroute.exceptions import FlowrouteValueError


@dataclass(frozen=True)
class CdrExportRequest:
    """One request for an export.

    :param filter_parameters: window and filters, from :func:`.filters.build_filter_parameters`.
    :param callback_url: where Flowroute POSTs a note when the export changes.
    """

    filter_parameters: Mapping[str, Any]
    callback_url: str | None = None

    def matches(self, export: CdrExport) -> bool:
        """Whether an export is what such a request makes: the same calls, announced to the same address."""
        return self.callback_url == export.callback_url and same_request(
            self.filter_parameters, export.filter_parameters
        )

    @property
    def fingerprint(self) -> str:
        """Short text that tells this request from others."""
        return fingerprint({**self.filter_parameters, "callback_url": self.callback_url})


def _canonical(name: str, value: object) -> object:
    """A value freed of the form in which it was written or echoed; None for what is the default."""
    if name in (WINDOW_START, WINDOW_END):
        return parse_instant(value, name)
    reader = FILTERS.get(name)
    if reader is parse_strings:
        return frozenset(parse_strings(name, value))
    if reader in (parse_seconds, parse_dollars):
        # Through float, as JSON carries it: 0.1 sent may come back as 0.10 or 0.1000000000000000055.
        return float(reader(name, value))
    if reader is parse_boolean:
        return parse_boolean(name, value) or None
    if reader is not None:
        return reader(name, value)
    literal = parse_literal(value) if isinstance(value, str) else value
    return json.dumps(value if literal is None else literal, sort_keys=True, default=str)


def _canonical_request(parameters: Mapping[str, Any]) -> dict[str, object]:
    canonical = {}
    for name, value in parameters.items():
        if value in (None, "None", [], "[]"):
            continue
        try:
            canonical[name] = _canonical(name, value)
        except FlowrouteValueError:
            # Not in any form we send, so not ours; its text still tells two of them apart.
            canonical[name] = repr(value)
    return {name: value for name, value in canonical.items() if value is not None}


def same_request(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two ``filter_parameters``, windows included, ask for the same calls.

    Flowroute echoes a request in other forms than it was sent: times in ISO 8601 with any offset, lists as
    text, in another order. Compared are instants, sets, numbers and truth values, not strings.

    :param a: as sent, or as echoed by any endpoint.
    :param b: likewise.
    """
    return _canonical_request(a) == _canonical_request(b)


def fingerprint(parameters: Mapping[str, Any]) -> str:
    """A short text that is the same for the same request, and in all likelihood only for that.

    :param parameters: as sent, or as echoed by any endpoint.
    """
    canonical = json.dumps(
        _canonical_request(parameters),
        sort_keys=True,
        default=lambda value: sorted(value) if isinstance(value, frozenset) else str(value),
    )
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]
