"""The control endpoints of the simulator, on the API's port. They need no keys."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import Any

from aiohttp import web

from airflow_provider_flowroute.simulator.api import CONTROL_PATH
from airflow_provider_flowroute.simulator.exports import SimulatedExport, to_json
from airflow_provider_flowroute.simulator.state import AccountState

_EXPORT_FIELDS = (
    *("id", "status", "start", "end", "filter_parameters", "callback_url", "requested_at"),
    *("num_calls", "total_cost", "reads", "downloads"),
)


def add_control(app: web.Application, state: AccountState) -> None:
    """Add the control endpoints to the API's port."""

    def add(method: str, path: str, action: Callable[..., object], status: int = 200) -> None:
        """Add an endpoint. The action gets the body and the parts of the path, and returns the response."""

        async def handle(request: web.Request) -> web.Response:
            try:
                result = await asyncio.to_thread(action, await request.read(), **request.match_info)
            except KeyError as error:
                return web.json_response({"error": error.args[0]}, status=404)
            except ValueError as error:
                return web.json_response({"error": str(error)}, status=400)
            result = {"status": "ok"} if result is None else result
            return web.json_response(result, status=status, dumps=partial(json.dumps, default=to_json))

        app.router.add_route(method, CONTROL_PATH + path, handle)

    def add_fault(body: bytes) -> object:
        options = _json_object(body)
        if "fault" not in options:
            raise ValueError('The fault has no name.\nSend its name: {"fault": "lost_reply"}.')
        state.faults.add(options.pop("fault"), **options)
        return state.faults.pending()

    def clear_faults(_: bytes) -> object:
        state.faults.clear()
        return []

    log, exports = state.request_log, state.exports
    addresses = {"url": state.url, "downloads": state.download_origin}
    add("GET", "/health", lambda _: {"status": "ok", **addresses})
    add("GET", "/exports", lambda _: [_show(export) for export in exports.all()])
    add("GET", "/requests", lambda _: [record.as_json() for record in log.all()])
    add("GET", "/faults", lambda _: state.faults.pending())
    add("POST", "/faults", add_fault, status=201)
    add("DELETE", "/faults", clear_faults)
    add("GET", "/held", lambda _: [record.as_json() for record in log.held()])
    add("POST", "/release", lambda _: log.release())
    add("POST", "/reset", lambda _: state.reset())
    add("POST", "/exports/{export_id}/complete", lambda _, export_id: exports.end_now(export_id, "completed"))
    add("POST", "/exports/{export_id}/fail", lambda _, export_id: exports.end_now(export_id, "failed"))


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if isinstance(document, dict):
        return document
    raise ValueError(
        'The request body is not a JSON object.\nSend a JSON object, such as {"fault": "lost_reply", "times": 1}.'
    )


def _show(export: SimulatedExport) -> dict[str, Any]:
    return {name: getattr(export, name) for name in _EXPORT_FIELDS}
