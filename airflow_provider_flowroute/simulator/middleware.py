"""The middleware of both ports: it records each request and applies the pending faults."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from airflow_provider_flowroute.simulator.faults import REQUEST_FAULTS, Fault
from airflow_provider_flowroute.simulator.request_log import RecordedRequest, RequestLog
from airflow_provider_flowroute.simulator.state import AccountState

#: Builds an error response in the format of one port: status, detail, additional headers.
ErrorResponse = Callable[[int, str, Mapping[str, str]], web.StreamResponse]
Respond = Callable[[], Awaitable[web.StreamResponse]]

#: The record of the current request, for a handler that sends its response itself.
current_record: ContextVar[RecordedRequest] = ContextVar("current_record")

#: The headers of an HTTP error that its response has in any format.
_KEPT_HEADERS = ("Allow", "Content-Range")
_HTML = "<!DOCTYPE html><html><head><title>Please sign in</title></head><body><h1>Please sign in</h1></body></html>"


def build_middleware(
    state: AccountState, classify: Callable[[web.Request], str | None], error_response: ErrorResponse
) -> Middleware:
    """Build the middleware of one port.

    :param classify: returns the name of the API operation; None if the request is not recorded.
    """

    @web.middleware
    async def record_and_apply_faults(request: web.Request, handler: Handler) -> web.StreamResponse:
        on = classify(request)
        if on is None:
            return await handler(request)
        record = state.request_log.begin(on, request)
        current_record.set(record)

        async def respond() -> web.StreamResponse:
            try:
                return await handler(request)
            except web.HTTPException as error:
                headers = {name: error.headers[name] for name in _KEPT_HEADERS if name in error.headers}
                return error_response(error.status, error.reason, headers)

        try:
            if fault := state.faults.take(on, REQUEST_FAULTS):
                response = await _apply(fault, record, request, respond, error_response, state.request_log)
            else:
                response = await respond()
            if response is None:
                return web.Response()  # never sent: the connection is closed
            record.status = response.status
            return response
        finally:
            state.request_log.end(record)

    return record_and_apply_faults


async def _apply(
    fault: Fault,
    record: RecordedRequest,
    request: web.Request,
    respond: Respond,
    error_response: ErrorResponse,
    request_log: RequestLog,
) -> web.StreamResponse | None:
    """Respond as the fault requires; return None if the connection is closed without a response."""
    options = fault.options
    # The response to a download is sent while it is built, so a fault cannot come after it.
    is_download = record.on == "download"
    after = options.get("after") and not is_download
    match fault.name:
        case "lost_reply":
            await respond()
            close_connection(request)
            return None
        case "dropped_connection":
            _reset_connection(request)
            return None
        case "slow_reply":
            response = None if is_download else await respond()
            await asyncio.sleep(options["seconds"])
            return response or await respond()
        case "held_request":
            response = await respond() if after else None
            if not await request_log.hold(request, record):
                return None
            return response or await respond()
        case "rate_limit":
            wait = options["retry_after"]
            headers = {} if wait is None else {"Retry-After": str(wait)}
            return error_response(429, "Too many requests. Try again later.", headers)
        case "server_error":
            if after:
                await respond()
            return error_response(options["status"], options["detail"], {})
        case "unauthorized" | "forbidden" as name:
            return error_response(401 if name == "unauthorized" else 403, options["detail"], {})
        case "html_reply":
            return web.Response(text=_HTML, content_type="text/html")
        case _:
            await respond()
            return web.Response(body=b'[{"unexpected": "shape"}]', content_type="application/vnd.api+json")


def close_connection(request: web.Request) -> None:
    """Close the connection of a request after the written data is sent."""
    if request.transport:
        request.transport.close()


def _reset_connection(request: web.Request) -> None:
    if request.transport:
        sock = request.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
