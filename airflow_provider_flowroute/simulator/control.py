"""The control endpoints of the simulator, on the API's port. They need no keys."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from airflow_provider_flowroute.simulator.api import CONTROL_PATH
from airflow_provider_flowroute.simulator.exports import SimulatedExport
from airflow_provider_flowroute.simulator.state import AccountState

_STATUS_BY_ACTION = {"complete": "completed", "fail": "failed"}


def add_control(app: web.Application, state: AccountState) -> None:
    """Add the control endpoints to the API's port.

    :param app: the web application of the API.
    :param state: the state of the account.
    """

    async def health(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "url": state.url, "downloads": state.download_origin})

    async def exports(_: web.Request) -> web.Response:
        exports = await asyncio.to_thread(state.exports.all)
        return web.json_response([_to_json(export) for export in exports])

    async def requests(_: web.Request) -> web.Response:
        return web.json_response([record.as_json() for record in state.request_log.all()])

    async def faults(_: web.Request) -> web.Response:
        return web.json_response(state.faults.pending())

    async def add_fault(request: web.Request) -> web.Response:
        body = await _json_object(request)
        if "fault" not in body:
            raise ValueError('The fault has no name.\nSend its name: {"fault": "lost_reply"}.')
        state.faults.add(body.pop("fault"), **body)
        return web.json_response(state.faults.pending(), status=201)

    async def clear_faults(_: web.Request) -> web.Response:
        state.faults.clear()
        return web.json_response([])

    async def held(_: web.Request) -> web.Response:
        return web.json_response([record.as_json() for record in state.held_requests.all()])

    async def release(_: web.Request) -> web.Response:
        state.held_requests.release()
        return web.json_response({"status": "ok"})

    async def reset(_: web.Request) -> web.Response:
        await asyncio.to_thread(state.reset)
        return web.json_response({"status": "ok"})

    async def end(request: web.Request) -> web.Response:
        status = _STATUS_BY_ACTION[request.match_info["action"]]
        await asyncio.to_thread(state.exports.end_now, request.match_info["id"], status)
        return web.json_response({"status": "ok"})

    routes: list[tuple[str, str, Callable[[web.Request], Awaitable[web.Response]]]] = [
        ("GET", "/health", health),
        ("GET", "/exports", exports),
        ("GET", "/requests", requests),
        ("GET", "/faults", faults),
        ("POST", "/faults", add_fault),
        ("DELETE", "/faults", clear_faults),
        ("GET", "/held", held),
        ("POST", "/release", release),
        ("POST", "/reset", reset),
        ("POST", "/exports/{id}/{action:complete|fail}", end),
    ]
    for method, path, handler in routes:
        app.router.add_route(method, CONTROL_PATH + path, _report_errors(handler))


def _report_errors(handler: Callable[[web.Request], Awaitable[web.Response]]) -> Handler:
    """Turn the exception of a wrong request into an error response."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except KeyError as error:
            return web.json_response({"error": error.args[0]}, status=404)
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)

    return handle


async def _json_object(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.read())
    except ValueError:
        body = None
    if isinstance(body, dict):
        return body
    raise ValueError(
        'The request body is not a JSON object.\nSend a JSON object, such as {"fault": "lost_reply", "times": 1}.'
    )


def _to_json(export: SimulatedExport) -> dict[str, Any]:
    return {
        "id": export.id,
        "status": export.status,
        "start": export.start.isoformat(),
        "end": export.end.isoformat(),
        "filter_parameters": export.filter_parameters,
        "callback_url": export.callback_url,
        "requested_at": export.requested_at.isoformat(),
        "num_calls": export.num_calls,
        "total_cost": None if export.total_cost is None else str(export.total_cost),
        "reads": export.reads,
        "downloads": export.downloads,
    }
