"""Convert Flowroute's error answers and requests' exceptions to this package's errors."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

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
        "The keys of connection {name!r} are wrong or expired.\n"
        "Check the connection's Access Key (login) and Secret Key (password), and the API keys in Flowroute's portal.",
    ),
    403: (
        FlowroutePermissionError,
        "The keys of connection {name!r} are valid, but do not permit this request.\n"
        "Ask the owner of the Flowroute account for the permission.",
    ),
    404: (
        FlowrouteNotFoundError,
        "The account of connection {name!r} has no such resource.\n"
        "Check that the export belongs to this account, and that the connection's host is Flowroute's API.",
    ),
    429: (
        FlowrouteRateLimitError,
        "Flowroute received too many requests, even after the client paused.\nSend fewer requests at the same time.",
    ),
}
_REJECTED = (FlowrouteRequestError, "Flowroute rejects the request in this form.\nChange the request.")
_SERVER_SIDE = (FlowrouteServerError, "The problem is on Flowroute's side.\nTry again later.")


def error_from_response(response: Response, what: str, name: str) -> FlowrouteAPIError:
    """Convert an answer with status 400 or higher to an error.

    :param response: the answer.
    :param what: the operation, for the message.
    :param name: the ID of the Airflow connection.
    """
    status = response.status_code
    errors = _errors(response)
    error_class, advice = _BY_STATUS.get(status, _SERVER_SIDE if status >= 500 else _REJECTED)
    lines = [f"{what}: Flowroute answered {status} {response.reason or ''}".rstrip() + "."]
    for error in errors:
        detail, error_id = _text(error, "detail", "title"), _text(error, "id")
        lines.append(
            f"{detail or ''} {f'(error ID for Flowroute support: {error_id})' if error_id else ''}".strip()
        )
    if retry_after := _retry_after(response):
        lines.append(f"Flowroute asks to wait {retry_after:g} seconds.")
    first = errors[0] if errors else {}
    return error_class(
        "\n".join([*filter(None, lines), advice.format(name=name)]),
        status_code=status,
        errors=errors,
        detail=_text(first, "detail", "title"),
        error_id=_text(first, "id"),
        retry_after=retry_after,
    )


def _text(error: Mapping[str, Any], *names: str) -> str | None:
    return next((str(error[name]) for name in names if error.get(name)), None)


def _errors(response: Response) -> list[Mapping[str, Any]]:
    """Return the JSON:API error objects of the body."""
    try:
        return [error for error in response.json()["errors"] if isinstance(error, Mapping)]
    except (ValueError, KeyError, TypeError):
        return []


def _retry_after(response: Response) -> float | None:
    """Return the delay of the ``Retry-After`` header in seconds, or None if there is no valid one."""
    header = response.headers.get("Retry-After")
    try:
        seconds = float(header or "nan")
    except ValueError:  # the header's other format, an HTTP date
        date, now = parse_http_date(header), parse_http_date(response.headers.get("Date"))
        return max(0.0, (date - (now or datetime.now(UTC))).total_seconds()) if date else None
    return seconds if 0 <= seconds < float("inf") else None


def parse_http_date(text: str | None) -> datetime | None:
    """Parse the date of an HTTP header, or return None if there is no valid one.

    :param text: the value of the header.
    """
    try:
        date = parsedate_to_datetime(text or "")
    except (ValueError, TypeError, OverflowError):
        return None
    return date if date.tzinfo else None


def error_from_exception(error: RequestException, what: str) -> FlowrouteError:
    """Convert an exception of requests to an error that does not contain the URL.

    :param error: the exception.
    :param what: the operation, for the message.
    """
    cause: object = error.args[0] if error.args else error
    if isinstance(cause, MaxRetryError) and cause.reason is not None:
        cause = cause.reason
    # The text of urllib3's own reasons contains at most host and port. Other exceptions may contain the URL.
    reason = type(cause if isinstance(cause, BaseException) else error).__name__
    if isinstance(cause, HTTPError) and not isinstance(cause, MaxRetryError):
        reason = f"{reason}: {cause}"
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        return FlowrouteConnectionConfigError(
            f"{what}: the TLS certificate is not trusted.\n"
            f"{reason}.\n"
            f"If your proxy signs it, set 'verify' in the connection's extra to the path of the proxy's CA bundle."
        )
    if isinstance(error, ValueError):  # requests rejects the URL, a header or a proxy
        return FlowrouteConnectionConfigError(
            f"{what}: the connection's host or proxies are invalid.\n{reason}.\nCorrect 'host' or 'proxies'."
        )
    # Nothing else proves it: TLS can also fail after the request was sent. A refused connection is one of these.
    never_arrived = isinstance(getattr(cause, "original_error", cause), ConnectTimeoutError)
    return FlowrouteUnreachableError(
        f"{what}: no answer.\n"
        f"{reason}.\n"
        f"Check that this machine can reach that host, directly or through the connection's 'proxies'.",
        request_may_have_arrived=not never_arrived,
    )
