"""The control endpoints: what a test asks of the simulator itself. No keys are needed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.typedefs import Handler

from airflow_provider_flowroute.simulator.api import CONTROL
from airflow_provider_flowroute.simulator.exports import SimulatedExport

if TYPE_CHECKING:
    from airflow_provider_flowroute.simulator.server import FlowrouteSimulator


def add_control(app: web.Application, simulator: FlowrouteSimulator) -> None:
    """Add the control endpoints to the API's port.

    :param app: the web application of the API.
    :param simulator: what they control.
    """

    async def health(_: web.Request) -> web.Response:
        return web.json_response(
            {"status": "ok", "url": simulator.url, "downloads": simulator.download_origin}
        )

    async def exports(_: web.Request) -> web.Response:
        found = await asyncio.to_thread(lambda: simulator.exports)
        return web.json_response([_export(export) for export in found])

    async def requests(_: web.Request) -> web.Response:
        return web.json_response([record.as_json() for record in simulator.requests])

    async def faults(_: web.Request) -> web.Response:
        return web.json_response(simulator.faults)

    async def add_fault(request: web.Request) -> web.Response:
        body = await _json_object(request)
        if "fault" not in body:
            raise ValueError('Name the fault: {"fault": "lost_reply"}.')
        simulator.add_fault(body.pop("fault"), **body)
        return web.json_response(simulator.faults, status=201)

    async def clear_faults(_: web.Request) -> web.Response:
        simulator.clear_faults()
        return web.json_response([])

    async def held(_: web.Request) -> web.Response:
        return web.json_response([record.as_json() for record in simulator.held])

    async def release(_: web.Request) -> web.Response:
        simulator.release()
        return web.json_response({"status": "ok"})

    async def reset(_: web.Request) -> web.Response:
        await asyncio.to_thread(simulator.reset)
        return web.json_response({"status": "ok"})

    async def end(request: web.Request) -> web.Response:
        action = {"complete": simulator.complete, "fail": simulator.fail}[request.match_info["action"]]
        await asyncio.to_thread(action, request.match_info["id"])
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
        app.router.add_route(method, CONTROL + path, _add_error_context(handler))


def _add_error_context(handler: Callable[[web.Request], Awaitable[web.Response]]) -> Handler:
    """Turn what a user got wrong into a reply that says so."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except KeyError as unknown:
            return web.json_response({"error": unknown.args[0]}, status=404)
        except ValueError as wrong:
            return web.json_response({"error": str(wrong)}, status=400)

    return handle


async def _json_object(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.read())
    except ValueError:
        body = None
    if isinstance(body, dict):
        return body
    raise ValueError('Send a JSON object, such as {"fault": "lost_reply", "times": 1}.')


def _export(export: SimulatedExport) -> dict[str, Any]:
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
