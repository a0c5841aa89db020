"""The port of the API: the three requests of the CDR export API."""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from collections.abc import Callable, Mapping
from decimal import Decimal
from email.utils import format_datetime
from http.client import responses
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from airflow_provider_flowroute.simulator import serializers, validation
from airflow_provider_flowroute.simulator.exports import SimulatedExport
from airflow_provider_flowroute.simulator.middleware import build_middleware
from airflow_provider_flowroute.simulator.state import AccountState

CONTROL_PATH = "/_simulator"
_MEDIA_TYPE = "application/vnd.api+json"
#: The curl example that Flowroute publishes has this content type.
_PUBLISHED_MEDIA_TYPE = "application/vnd+api.json"
_MAX_BODY_BYTES = 1024**2
#: What a fault changes in the next export.
_EXPORT_FAULTS: dict[str, Callable[..., dict[str, Any]]] = {
    "failed_export": lambda: {"final_status": "failed"},
    "unknown_status": lambda status: {"final_status": status},
    "wrong_num_calls": lambda delta: {"num_calls_off": delta},
    "wrong_total_cost": lambda delta: {"total_cost_off": Decimal(str(delta))},
}


class Api:
    """The API of one account."""

    def __init__(self, state: AccountState) -> None:
        self._state = state
        self._credentials = base64.b64encode(f"{state.access_key}:{state.secret_key}".encode()).decode()

    def application(self) -> web.Application:
        """Build the web application."""
        middlewares = [build_middleware(self._state, _classify, _error_response), self._authenticate]
        app = web.Application(middlewares=middlewares, client_max_size=_MAX_BODY_BYTES)
        app.on_response_prepare.append(self._set_date)
        app.router.add_post(serializers.PATH, self._create)
        app.router.add_get(serializers.PATH, self._list, allow_head=False)
        app.router.add_get(serializers.PATH + "/{id}", self._show, allow_head=False)
        return app

    @web.middleware
    async def _authenticate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/v2/"):
            scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
            if (scheme.lower(), credentials.strip()) != ("basic", self._credentials):
                raise web.HTTPUnauthorized(reason="The access key or the secret key is not valid.")
        return await handler(request)

    async def _set_date(self, _: web.Request, response: web.StreamResponse) -> None:
        response.headers["Date"] = format_datetime(self._state.exports.now(), usegmt=True)

    async def _create(self, request: web.Request) -> web.Response:
        if request.content_type not in (_MEDIA_TYPE, _PUBLISHED_MEDIA_TYPE):
            raise web.HTTPUnsupportedMediaType(reason=f"Content-Type must be {_MEDIA_TYPE}.")
        parsed = validation.parse_create(await request.read())
        export = await asyncio.to_thread(self._state.exports.create, parsed, self._take_changes())
        self._state.export_created.set()
        return _json_response(201, serializers.created(export, self._state))

    async def _list(self, request: web.Request) -> web.Response:
        page = validation.parse_page(request.query)
        exports = (await asyncio.to_thread(self._state.exports.all))[::-1]
        if fault := self._state.faults.take("list", ["incomplete_list"]):
            del exports[: fault.options["count"]]
        if self._state.faults.take("list", ["unsorted_list"]):
            exports = exports[1::2] + exports[::2]
        matching = [export for export in exports if page.status in (None, export.status)]
        end = page.offset + page.limit
        entries = [(export, self._link(export)) for export in matching[page.offset : end]]
        return _json_response(200, serializers.listed(entries, self._state, page, more=end < len(matching)))

    async def _show(self, request: web.Request) -> web.Response:
        export = await asyncio.to_thread(self._state.exports.read, request.match_info["id"])
        if export is None:
            raise web.HTTPNotFound(reason="The requested CDR export does not exist.")
        return _json_response(200, serializers.shown(export, self._state, self._link(export)))

    def _link(self, export: SimulatedExport) -> str | None:
        if export.expires_at is None:
            return None
        return self._state.presigner.sign(self._state.download_origin, export.object_key, export.expires_at)

    def _take_changes(self) -> dict[str, Any]:
        """Take the pending faults that change how the next export ends. Several of them can be combined."""
        changes: dict[str, Any] = {}
        for name, change in _EXPORT_FAULTS.items():
            if fault := self._state.faults.take("create", [name]):
                changes |= change(**fault.options)
        return changes


def _classify(request: web.Request) -> str | None:
    path = request.path
    if path == CONTROL_PATH or path.startswith(CONTROL_PATH + "/"):
        return None
    if path == serializers.PATH:
        return {"POST": "create", "GET": "list"}.get(request.method, "other")
    return "status" if request.method == "GET" and path.startswith(serializers.PATH + "/") else "other"


def _error_response(status: int, detail: str, headers: Mapping[str, str]) -> web.Response:
    error = {
        "id": str(uuid.uuid4()),
        "status": status,
        "title": responses.get(status, "Error"),
        "detail": detail,
    }
    return _json_response(status, {"errors": [error]}, headers)


def _json_response(status: int, body: object, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        body=json.dumps(body).encode(), status=status, headers=headers, content_type=_MEDIA_TYPE
    )
