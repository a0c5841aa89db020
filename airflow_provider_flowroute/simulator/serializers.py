"""The JSON documents of the API. Each request shows an export in its own format."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_flowroute.simulator.exports import SimulatedExport
from airflow_provider_flowroute.simulator.result_file import SUMS
from airflow_provider_flowroute.simulator.state import AccountState
from airflow_provider_flowroute.simulator.validation import Page

PATH = "/v2/cdrs/exports"
#: The ways in which a response can show the callback URL of an export.
CALLBACK_URL_ECHOES = ("exact", "trailing_slash", "escaped", "null", "omitted")

_WINDOW = ("start_call_start_time", "start_call_end_time")
_OTHER_ZONE = timezone(timedelta(hours=3))
_SIX_PLACES = Decimal("0.000001")


def created(export: SimulatedExport, state: AccountState) -> dict[str, Any]:
    """Return the body of a create response: filters are attributes, ``filter_parameters`` has no window."""
    filters = {name: value for name, value in export.filter_parameters.items() if name not in _WINDOW}
    attributes = {
        **export.filter_parameters,
        **_callback_url(export, state),
        "status": "processing",
        "requested_at": _iso(export.requested_at),
        "created_at": _iso(export.requested_at, _OTHER_ZONE),
        **dict.fromkeys(("download_url", "expires_at", "total_cost", "usf_fees", "ccrf", "billed_minutes")),
        "filter_parameters": filters,
    }
    return _resource(export, export.id, state, attributes)


def shown(export: SimulatedExport, state: AccountState, download_url: str | None) -> dict[str, Any]:
    """Return the body of a status response: flat, with lists of filters as text."""
    filters = {
        name: str(value) if isinstance(value, list) else value
        for name, value in export.filter_parameters.items()
    }
    return _resource(export, export.id, state, _attributes(export, state, download_url, filters))


def listed(
    exports: Sequence[tuple[SimulatedExport, str | None]], state: AccountState, page: Page, more: bool
) -> dict[str, Any]:
    """Return a page of the list: nested twice, with integer IDs and the window in ISO format.

    :param exports: the exports on the page, each with the link to its file.
    :param more: whether there are further exports.
    """
    items = []
    for export, download_url in exports:
        window = dict(zip(_WINDOW, (_iso(export.start), _iso(export.end)), strict=True))
        attributes = _attributes(export, state, download_url, export.filter_parameters | window)
        items.append(_resource(export, int(export.id), state, attributes))
    links = {"self": _internal_link(page.offset, page.limit)}
    if more:
        links["next"] = _internal_link(page.offset + page.limit, page.limit)
    return {"data": items, "links": links}


def _resource(
    export: SimulatedExport, shown_id: str | int, state: AccountState, attributes: dict[str, Any]
) -> dict[str, Any]:
    links = {"self": f"{state.url}{PATH}/{export.id}"}
    return {"data": {"type": "cdrexport", "id": shown_id, "links": links, "attributes": attributes}}


def _attributes(
    export: SimulatedExport, state: AccountState, download_url: str | None, filters: dict[str, Any]
) -> dict[str, Any]:
    return {
        **_callback_url(export, state),
        "status": export.status,
        "download_url": download_url,
        "requested_at": _iso(export.requested_at),
        "created_at": _iso(export.requested_at),
        "expires_at": _iso(export.expires_at) if export.expires_at else None,
        **_sums(export),
        "filter_parameters": filters,
    }


def _callback_url(export: SimulatedExport, state: AccountState) -> dict[str, str | None]:
    url, echo = export.callback_url, state.callback_url_echo
    if echo == "omitted":
        return {}
    if url is None or echo == "null":
        return {"callback_url": None}
    if echo == "exact":
        return {"callback_url": url}
    parts = urlsplit(url)
    path = parts.path
    if echo == "trailing_slash":
        path = path.removesuffix("/") if path.endswith("/") else path + "/"
    elif re.search("[A-Za-z]$", path):
        path = f"{path[:-1]}%{ord(path[-1]):02X}"  # an equivalent URL by RFC 3986
    return {"callback_url": parts._replace(path=path).geturl()}


def _sums(export: SimulatedExport) -> dict[str, Any]:
    totals = export.totals
    if totals is None:
        return dict.fromkeys((*SUMS, "num_calls", "billed_minutes"))
    amounts = dict(totals.money)
    amounts["total_cost"] += export.total_cost_off
    return {name: _money(amount) for name, amount in amounts.items()} | {
        "num_calls": totals.num_calls + export.num_calls_off,
        "billed_minutes": round(totals.billed_seconds / 60, 2),
    }


def _money(amount: Decimal) -> str:
    return f"{amount.quantize(_SIX_PLACES, ROUND_HALF_EVEN):f}" if amount else "0.0"


def _iso(instant: datetime, zone: timezone = UTC) -> str:
    return instant.astimezone(zone).isoformat(timespec="seconds")


def _internal_link(offset: int, limit: int) -> str:
    # The real link has an internal host and a malformed query, so no client can follow it.
    return f"http://cdr-api/cdrs/exports?offset={offset}&limit;={limit}"
