"""An error answer of Flowroute's API, or none at all, in this package's terms: its words first, then what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from urllib3.exceptions import ConnectTimeoutError, HTTPError, MaxRetryError

from airflow_provider_flowroute.exceptions import (
    FlowrouteAPIError,
    FlowrouteAuthenticationError,
    FlowrouteConnectionConfigError,
    FlowrouteError,
    FlowrouteNotFoundError,
    FlowroutePermissionError,
    FlowrouteRateLimitError,
    FlowrouteRequestError,
    FlowrouteServerError,
    FlowrouteUnreachableError,
)

if TYPE_CHECKING:
    from requests import RequestException, Response

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


def error_from_response(response: Response, what: str, name: str) -> FlowrouteAPIError:
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


def error_from_exception(error: RequestException, what: str) -> FlowrouteError:
    """Ours for one of requests', without its URL."""
    cause: object = error.args[0] if error.args else error
    if isinstance(cause, MaxRetryError) and cause.reason is not None:
        cause = cause.reason
    # urllib3's own reasons name host and port at most; anything else is known by its class alone.
    reason = str(cause) if isinstance(cause, HTTPError) and not isinstance(cause, MaxRetryError) else ""
    reason = f"{type(cause if isinstance(cause, BaseException) else error).__name__}{f': {reason}' if reason else ''}"
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        return FlowrouteConnectionConfigError(
            f"{what}: the TLS certificate is not trusted ({reason}). If a proxy of yours signs it, set the "
            f"connection's extra 'verify' to the path of its CA bundle."
        )
    if isinstance(error, ValueError):  # requests' complaints about a URL, a header or a proxy that cannot be
        return FlowrouteConnectionConfigError(
            f"{what}: the connection's host or proxies cannot be used ({reason})."
        )
    # Nothing else is proof: TLS, too, can break after the request was sent. (A refused connection is one of these.)
    never_arrived = isinstance(getattr(cause, "original_error", cause), ConnectTimeoutError)
    return FlowrouteUnreachableError(
        f"{what}: no answer ({reason}).", request_may_have_arrived=not never_arrived
    )
