"""What every request to either port passes: it is recorded, and may meet a fault."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from airflow_provider_flowroute.simulator.faults import REQUEST_FAULTS, Fault, FaultQueue
from airflow_provider_flowroute.simulator.held_requests import HeldRequests
from airflow_provider_flowroute.simulator.request_log import RecordedRequest, RequestLog
from airflow_provider_flowroute.simulator.validation import RefusedError

#: Makes an error reply in the manner of one port: status, detail, further headers.
Refuse = Callable[[int, str, Mapping[str, str]], web.StreamResponse]
Answer = Callable[[], Awaitable[web.StreamResponse]]

#: The record of the request at hand, for a handler that sends its answer itself.
current_record: ContextVar[RecordedRequest] = ContextVar("current_record")

_HTML = "<!DOCTYPE html><html><head><title>Please sign in</title></head><body><h1>Please sign in</h1></body></html>"


def gate(
    log: RequestLog,
    faults: FaultQueue,
    held: HeldRequests,
    name_of: Callable[[web.Request], str | None],
    refuse: Refuse,
) -> Middleware:
    """Make the middleware of one port.

    :param log: where requests are recorded.
    :param faults: the faults still to come.
    :param held: where requests are held.
    :param name_of: tells which of the service's requests one is; None for one that is not recorded.
    :param refuse: makes an error reply.
    """

    @web.middleware
    async def pass_gate(request: web.Request, handler: Handler) -> web.StreamResponse:
        on = name_of(request)
        if on is None:
            return await handler(request)
        record = log.begin(on, request)
        current_record.set(record)

        async def answer() -> web.StreamResponse:
            try:
                return await handler(request)
            except RefusedError as refused:
                return refuse(refused.status, refused.detail, {})
            except web.HTTPException as error:
                allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
                return refuse(error.status, error.reason, allow)

        try:
            fault = faults.take(on, REQUEST_FAULTS)
            response = await (_misbehave(fault, on, request, answer, refuse, held) if fault else answer())
            if response is None:
                return web.Response()  # goes nowhere: the connection is closed
            record.status = response.status
            return response
        finally:
            log.end(record)

    return pass_gate


async def _misbehave(
    fault: Fault, on: str, request: web.Request, answer: Answer, refuse: Refuse, held: HeldRequests
) -> web.StreamResponse | None:
    """Answer as a fault has it; None if the connection is gone instead."""
    options = fault.options
    match fault.name:
        case "lost_reply":
            await answer()
            hang_up(request)
            return None
        case "dropped_connection":
            _reset_connection(request)
            return None
        case "slow_reply":
            return await _answer_late(on, answer, options["seconds"])
        case "held_request":
            return await _hold(on, request, answer, options["after"], held)
        case "rate_limit":
            wait = options["retry_after"]
            headers = {} if wait is None else {"Retry-After": str(wait)}
            return refuse(429, "Too many requests. Try again later.", headers)
        case "server_error":
            # An answer to a download goes out while it is made, so there is no "after" for it.
            if options["after"] and on != "download":
                await answer()
            return refuse(options["status"], options["detail"], {})
        case "unauthorized":
            return refuse(401, options["detail"], {})
        case "forbidden":
            return refuse(403, options["detail"], {})
        case "html_reply":
            return web.Response(text=_HTML, content_type="text/html")
        case _:
            await answer()
            return web.Response(body=b'[{"unexpected": "shape"}]', content_type="application/vnd.api+json")


async def _hold(
    on: str, request: web.Request, answer: Answer, after: bool, held: HeldRequests
) -> web.StreamResponse | None:
    # An answer to a download goes out while it is made, so there is no "after" for it.
    response = await answer() if after and on != "download" else None
    if not await held.hold(request, current_record.get()):
        return None
    return response or await answer()


def hang_up(request: web.Request) -> None:
    """Close a request's connection, once what was written has gone out.

    :param request: the request.
    """
    if request.transport:
        request.transport.close()


def _reset_connection(request: web.Request) -> None:
    if request.transport:
        sock = request.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()


async def _answer_late(on: str, answer: Answer, seconds: float) -> web.StreamResponse:
    if on == "download":
        await asyncio.sleep(seconds)
        return await answer()
    response = await answer()
    await asyncio.sleep(seconds)
    return response
