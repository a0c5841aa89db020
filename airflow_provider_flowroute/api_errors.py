"""An error answer of Flowroute's API, in this package's terms: Flowroute's words first, then what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from airflow_provider_flowroute.exceptions import (
    FlowrouteAPIError,
    FlowrouteAuthenticationError,
    FlowrouteNotFoundError,
    FlowroutePermissionError,
    FlowrouteRateLimitError,
    FlowrouteRequestError,
    FlowrouteServerError,
)

if TYPE_CHECKING:
    from requests import Response

_BY_STATUS: Mapping[int, tuple[type[FlowrouteAPIError], str]] = {
    401: (
        FlowrouteAuthenticationError,
        "The keys of connection {name!r} were not accepted: check its Access Key (login) and Secret Key (password). "
        "A key can also have expired; see the account's API keys in Flowroute's portal.",
    ),
    403: (FlowroutePermissionError, "The keys of connection {name!r} are known, but may not do this."),
    404: (
        FlowrouteNotFoundError,
        "The account of connection {name!r} has no such thing: is the export another account's, or the "
        "connection's host not Flowroute's API?",
    ),
    429: (FlowrouteRateLimitError, "Too many requests, even after pauses; make fewer at a time."),
}
_REFUSED = (FlowrouteRequestError, "The request is refused as it stands: change what it asks for.")
_THEIR_SIDE = (FlowrouteServerError, "The problem is on Flowroute's side; try again later.")


def api_error(response: Response, what: str, name: str) -> FlowrouteAPIError:
    """The error for an answer of 400 or more.

    :param what: what was being done, for the message.
    :param name: the Airflow connection's id.
    """
    status = response.status_code
    detail, error_id = _first_error(response)
    default = _THEIR_SIDE if status >= 500 else _REFUSED
    error_class, advice = _BY_STATUS.get(status, default)
    said = (f"{status}: {detail}" if detail else f"{status} {response.reason or ''}").rstrip(" .")
    if error_id:
        said += f" (error id {error_id}, which Flowroute's support asks for)"
    return error_class(
        f"{what}: Flowroute answered {said}. {advice.format(name=name)}",
        status_code=status,
        detail=detail,
        error_id=error_id,
        retry_after=_seconds(response.headers.get("Retry-After")),
    )


def _first_error(response: Response) -> tuple[str | None, str | None]:
    """Flowroute's own words and the error's id, where the body has them."""
    try:
        error = response.json()["errors"][0]
        detail, error_id = error.get("detail") or error.get("title"), error.get("id")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return None, None
    return (str(detail) if detail else None), (str(error_id) if error_id else None)


def _seconds(header: str | None) -> float | None:
    try:
        return None if header is None else float(header)
    except ValueError:  # the header's other form, an HTTP date
        return None
