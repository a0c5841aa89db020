"""The API's port: its three requests, as Flowroute answers them."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from collections.abc import Mapping
from decimal import Decimal
from email.utils import format_datetime
from http import HTTPStatus
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from airflow_provider_flowroute.simulator import serializers, validation
from airflow_provider_flowroute.simulator.account import Account
from airflow_provider_flowroute.simulator.exports import Outcome, SimulatedExport
from airflow_provider_flowroute.simulator.faults import EXPORT_FAULTS, FaultQueue
from airflow_provider_flowroute.simulator.held_requests import HeldRequests
from airflow_provider_flowroute.simulator.middleware import gate
from airflow_provider_flowroute.simulator.presigning import LinkSigner
from airflow_provider_flowroute.simulator.request_log import RequestLog
from airflow_provider_flowroute.simulator.validation import RefusedError

CONTROL = "/_simulator"
_MEDIA_TYPE = "application/vnd.api+json"
_LARGEST_BODY = 1024**2


class Api:
    """The API of one account.

    :param account: the account.
    :param faults: the faults still to come.
    :param held: where requests are held.
    :param signer: makes the links to files.
    :param access_key: the key that is let in.
    :param secret_key: its secret.
    """

    def __init__(
        self,
        account: Account,
        faults: FaultQueue,
        held: HeldRequests,
        signer: LinkSigner,
        access_key: str,
        secret_key: str,
    ) -> None:
        self._account = account
        self._faults = faults
        self._held = held
        self._signer = signer
        self._credentials = f"{access_key}:{secret_key}".encode()
        #: Where this port and the storage's can be reached; known once they are open.
        self.base = ""
        self.download_origin = ""

    def application(self, log: RequestLog) -> web.Application:
        """Make the web application.

        :param log: where requests are recorded.
        """
        middlewares = [gate(log, self._faults, self._held, _name_of, _refuse), self._authenticate]
        app = web.Application(middlewares=middlewares, client_max_size=_LARGEST_BODY)
        app.on_response_prepare.append(self._date)
        app.router.add_post(serializers.PATH, self._create)
        app.router.add_get(serializers.PATH, self._list, allow_head=False)
        app.router.add_get(serializers.PATH + "/{id}", self._show, allow_head=False)
        return app

    @web.middleware
    async def _authenticate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/v2/"):
            scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
            try:
                given = base64.b64decode(encoded.strip(), validate=True)
            except ValueError:
                given = b""
            if scheme.lower() != "basic" or not hmac.compare_digest(given, self._credentials):
                raise RefusedError(401, "The access key or the secret key is not valid.")
        return await handler(request)

    async def _date(self, _: web.Request, response: web.StreamResponse) -> None:
        response.headers["Date"] = format_datetime(self._account.now(), usegmt=True)

    async def _create(self, request: web.Request) -> web.Response:
        if request.content_type != _MEDIA_TYPE:
            raise RefusedError(415, f"Content-Type must be {_MEDIA_TYPE}.")
        asked = validation.check_create(await request.read())
        export = await asyncio.to_thread(
            self._account.create,
            asked.start,
            asked.end,
            asked.filter_parameters,
            asked.callback_url,
            self._outcome(),
        )
        return _reply(201, serializers.created(export, self.base))

    async def _list(self, request: web.Request) -> web.Response:
        page = validation.check_list(request.query)
        exports = (await asyncio.to_thread(self._account.exports))[::-1]
        matching = [each for each in exports if page.status in (None, each.status)]
        end = page.offset + page.limit
        shown = [(export, self._link(export)) for export in matching[page.offset : end]]
        return _reply(200, serializers.listed(shown, self.base, page, more=end < len(matching)))

    async def _show(self, request: web.Request) -> web.Response:
        export = await asyncio.to_thread(self._account.read, request.match_info["id"])
        if export is None:
            raise RefusedError(404, "The requested CDR export does not exist.")
        return _reply(200, serializers.shown(export, self.base, self._link(export)))

    def _link(self, export: SimulatedExport) -> str | None:
        if export.expires_at is None:
            return None
        return self._signer.sign(self.download_origin, export.object_key, export.expires_at)

    def _outcome(self) -> Outcome:
        """Let the faults that mark an export decide how the next one is to end."""
        changes: dict[str, Any] = {}
        for name in EXPORT_FAULTS:
            fault = self._faults.take("create", [name])
            if fault is None:
                continue
            match name:
                case "failed_export":
                    changes["status"] = "failed"
                case "unknown_status":
                    changes["status"] = fault.options["status"]
                case "wrong_num_calls":
                    changes["num_calls_off"] = fault.options["delta"]
                case _:
                    changes["total_cost_off"] = Decimal(str(fault.options["delta"]))
        return Outcome(**changes)


def _name_of(request: web.Request) -> str | None:
    path = request.path
    if path == CONTROL or path.startswith(CONTROL + "/"):
        return None
    if path == serializers.PATH:
        return {"POST": "create", "GET": "list"}.get(request.method, "other")
    return "status" if request.method == "GET" and path.startswith(serializers.PATH + "/") else "other"


def _refuse(status: int, detail: str, headers: Mapping[str, str]) -> web.Response:
    try:
        title = HTTPStatus(status).phrase
    except ValueError:
        title = "Error"
    return _reply(status, serializers.errors(status, title, detail), headers)


def _reply(status: int, body: object, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        body=json.dumps(body).encode(), status=status, headers=headers, content_type=_MEDIA_TYPE
    )
