"""Receive Flowroute's callbacks in Airflow's API server: the plugin ``flowroute_callbacks`` (Airflow 3.3 and later).

A callback is a hint and carries no signature, so nothing in its body is trusted. It only makes the watchers of its
connection poll at once. They alone report exports, so a callback that is repeated or forged causes no second event.

Airflow imports this module in every process, so it imports nothing large before the first request.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow.plugins_manager import AirflowPlugin

from airflow_provider_flowroute.utils.callback_urls import HAS_ASSET_STATE, PREFIX, is_valid_token

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

log = logging.getLogger(__name__)

#: Bytes. Flowroute's published envelope has about 700.
MAX_BODY = 64 * 1024
#: Seconds that a body may take.
BODY_TIMEOUT = 10
#: Seconds after which the connections and their watchers are read again, at the next request.
RELOAD_INTERVAL = 30.0
#: Seconds between two polls that callbacks of a connection cause.
POLL_INTERVAL = 1.0
#: Seconds between two log lines.
LOG_INTERVAL = 60.0
MEDIA_TYPES = ("application/json", "application/vnd.api+json")
TRIGGER = "airflow_provider_flowroute.triggers.events.CdrExportCompletedEventTrigger"


@dataclass(frozen=True)
class Watched:
    """A connection that receives callbacks.

    :param secret: its ``callback_secret``.
    :param asset_ids: the assets whose watchers use the connection.
    """

    secret: str = field(repr=False)
    asset_ids: tuple[int, ...]


class _RefusedError(Exception):
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class CallbackReceiver:
    """The ASGI application that receives callbacks at ``/flowroute/callbacks/CONN_ID/TOKEN``.

    A refused request uses neither the database nor Flowroute. Connections and watchers are read from the database at
    most every :data:`RELOAD_INTERVAL`, however many requests arrive.
    """

    def __init__(self) -> None:
        self._watched: dict[str, Watched] = {}
        self._reload_at = self._log_at = 0.0
        self._reload: asyncio.Task[None] | None = None
        self._polls: dict[str, asyncio.Task[None]] = {}
        self._next_poll_at: dict[str, float] = {}
        self._outcomes: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        from starlette.requests import Request
        from starlette.responses import Response

        if scope["type"] != "http":
            return
        conn_id, _, token = scope["path"].partition(f"{PREFIX}/")[2].rpartition("/")
        status, outcome = 200, "accepted"
        try:
            await self._receive(Request(scope, receive), conn_id, token)
        except _RefusedError as e:
            status, outcome = e.status, f"refused ({e})"
        self._count(outcome)
        # Airflow's access log must have neither the token nor a line for each of many refused requests.
        scope["path"] = f"{PREFIX}/{conn_id}/***" if status == 200 else _path_without_access_log()
        await Response(status_code=status)(scope, receive, send)

    async def _receive(self, request: Request, conn_id: str, token: str) -> None:
        """Check a request, and let the watchers poll."""
        await self._load()
        watched = self._watched.get(conn_id)
        if watched is None or not is_valid_token(token, conn_id, watched.secret):
            raise _RefusedError(404, "wrong token")
        if request.method != "POST":
            raise _RefusedError(405, "wrong method")
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in MEDIA_TYPES:
            raise _RefusedError(415, "wrong content type")
        _check_body(await _read_body(request))
        poll = self._polls.get(conn_id)
        if poll is None or poll.done():
            poll = self._polls[conn_id] = asyncio.create_task(self._poll(conn_id, watched))
        await asyncio.shield(poll)  # All callbacks of this second wait for the same poll.

    async def _poll(self, conn_id: str, watched: Watched) -> None:
        from sqlalchemy.exc import SQLAlchemyError

        await asyncio.sleep(self._next_poll_at.get(conn_id, 0.0) - time.monotonic())
        self._next_poll_at[conn_id] = time.monotonic() + POLL_INTERVAL
        try:
            await asyncio.to_thread(request_poll, watched.asset_ids)
        except SQLAlchemyError as e:
            log.warning("A callback of connection %r cannot be stored: %s.", conn_id, type(e).__name__)
            raise _RefusedError(503, "database not available") from None

    async def _load(self) -> None:
        """Read connections and watchers again if they are old. All requests wait for the same reading."""
        if time.monotonic() >= self._reload_at:
            if self._reload is None or self._reload.done():
                self._reload = asyncio.create_task(self._load_now())
            await asyncio.shield(self._reload)

    async def _load_now(self) -> None:
        from sqlalchemy.exc import SQLAlchemyError

        try:
            self._watched = await asyncio.to_thread(load_watched)
        except SQLAlchemyError as e:  # What was read before stays valid.
            log.warning("The watchers for callbacks cannot be read: %s.", type(e).__name__)
        finally:
            self._reload_at = time.monotonic() + RELOAD_INTERVAL

    def _count(self, outcome: str) -> None:
        """Count an outcome, and log the counts at most once a minute."""
        self._outcomes[outcome] += 1
        if time.monotonic() >= self._log_at:
            self._log_at = time.monotonic() + LOG_INTERVAL
            counts = ", ".join(f"{number} {name}" for name, number in self._outcomes.items())
            log.info("Callbacks since the last such line: %s.", counts)
            self._outcomes.clear()


def load_watched() -> dict[str, Watched]:
    """Return the connections that receive callbacks: those with a ``callback_secret`` and a watcher."""
    from airflow.models.trigger import Trigger
    from airflow.providers.common.compat.sdk import AirflowNotFoundException
    from airflow.utils.session import create_session
    from sqlalchemy import select

    from airflow_provider_flowroute.exceptions import FlowrouteConnectionConfigError
    from airflow_provider_flowroute.hooks.flowroute import FlowrouteHook

    assets: dict[str, set[int]] = {}
    with create_session() as session:
        for trigger in session.scalars(select(Trigger).where(Trigger.classpath == TRIGGER)):
            ids = {watcher.asset_id for watcher in trigger.asset_watchers}
            assets.setdefault(str(trigger.kwargs["flowroute_conn_id"]), set()).update(ids)
    watched = {}
    for conn_id, asset_ids in assets.items():
        try:
            secret = FlowrouteHook(conn_id).get_callback_secret()
        except (AirflowNotFoundException, FlowrouteConnectionConfigError) as e:
            log.warning("Connection %r receives no callbacks.\n%s", conn_id, e)
            continue
        if secret is not None:
            watched[conn_id] = Watched(secret, tuple(sorted(asset_ids)))
    return watched


def request_poll(asset_ids: Sequence[int]) -> None:
    """Let the watchers of assets poll at once: they notice a new value in the state store.

    :param asset_ids: IDs of the assets.
    """
    from airflow.state import AssetScope, get_state_backend
    from airflow.utils.session import create_session

    from airflow_provider_flowroute.utils.watch_state import CALLBACK_KEY

    with create_session() as session:
        for asset_id in asset_ids:
            value = json.dumps({"at": time.time()})
            get_state_backend().set(AssetScope(asset_id=asset_id), CALLBACK_KEY, value, session=session)


async def _read_body(request: Request) -> bytes:
    from starlette.requests import ClientDisconnect

    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY:
                    raise _RefusedError(413, "too large")
    except (TimeoutError, ClientDisconnect):
        raise _RefusedError(400, "incomplete body") from None
    return bytes(body)


def _check_body(body: bytes) -> None:
    """Refuse what cannot be a callback of an export. Flowroute does not publish its format for exports."""
    try:
        callback = json.loads(body)
    except (ValueError, RecursionError):
        raise _RefusedError(400, "invalid JSON") from None
    data = callback.get("data") if isinstance(callback, dict) else None
    attributes = data.get("attributes") if isinstance(data, dict) else None
    if not isinstance(attributes, dict):
        raise _RefusedError(422, "not a callback")
    if "cdr" not in str(attributes.get("resource_type", "cdr")) or attributes.get("resource_id", 0) in (
        None,
        "",
    ):
        raise _RefusedError(422, "not of an export")


def _path_without_access_log() -> str:
    from airflow.api_fastapi.common import http_access_log

    return next(iter(getattr(http_access_log, "_HEALTH_PATHS", ())), f"{PREFIX}/***")


class FlowrouteCallbacksPlugin(AirflowPlugin):
    """Mount the receiver in the API server. It refuses all requests until a connection has a ``callback_secret``."""

    name = "flowroute_callbacks"
    fastapi_apps = (
        [{"app": CallbackReceiver(), "url_prefix": PREFIX, "name": "Flowroute callbacks"}]
        if HAS_ASSET_STATE
        else []
    )
