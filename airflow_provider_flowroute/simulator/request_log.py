"""The requests to both ports, in order of arrival, and those that a fault holds without an answer."""

from __future__ import annotations

import asyncio
import copy
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from aiohttp import web

_MAX_RECORDS = 10_000
#: Seconds between two checks whether the client of a held request is still connected.
_POLL_SECONDS = 0.05


@dataclass
class RecordedRequest:
    """A request that reached the simulator.

    :param on: ``create``, ``status``, ``list``, ``download`` or ``other``.
    :param method: the HTTP method.
    :param path: the path, without the query.
    :param query: the query parameters.
    :param status: the HTTP status of the response; None while there is no response, and if the connection
        was closed without one.
    :param has_authorization: whether it has an ``Authorization`` header.
    :param headers: its headers, names in lower case; the value of ``Authorization`` is masked.
    """

    on: str
    method: str
    path: str
    query: dict[str, str]
    status: int | None
    has_authorization: bool
    headers: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """Return the record as the control endpoint shows it."""
        return asdict(self)


class RequestLog:
    """The recorded requests. Safe to use from any thread.

    :param on_request: called with each request after it is answered.
    """

    def __init__(self, on_request: Callable[[RecordedRequest], None] | None = None) -> None:
        self._requests: deque[RecordedRequest] = deque(maxlen=_MAX_RECORDS)
        self._held: dict[int, RecordedRequest] = {}
        self._lock = threading.Lock()
        self._on_request = on_request

    def begin(self, on: str, request: web.Request) -> RecordedRequest:
        """Record a new request.

        :param on: the name of the API operation.
        """
        headers = {name.lower(): value for name, value in request.headers.items()}
        has_authorization = "authorization" in headers
        if has_authorization:
            headers["authorization"] = "***"
        query = dict(request.query)
        record = RecordedRequest(on, request.method, request.path, query, None, has_authorization, headers)
        with self._lock:
            self._requests.append(record)
        return record

    def end(self, record: RecordedRequest) -> None:
        """Report that a request has been answered."""
        if self._on_request:
            self._on_request(replace(record))

    async def hold(self, request: web.Request, record: RecordedRequest) -> bool:
        """Hold a request until it is released or its client disconnects. Return whether it is connected."""
        with self._lock:
            self._held[id(record)] = record
        try:
            while id(record) in self._held and _is_connected(request):
                await asyncio.sleep(_POLL_SECONDS)
            return _is_connected(request)
        finally:
            with self._lock:
                self._held.pop(id(record), None)

    def held(self) -> list[RecordedRequest]:
        """Return copies of the requests that are held now, oldest first."""
        with self._lock:
            return copy.deepcopy(list(self._held.values()))

    def release(self) -> None:
        """Release every held request."""
        with self._lock:
            self._held.clear()

    def all(self) -> list[RecordedRequest]:
        """Return copies of the recorded requests, oldest first."""
        with self._lock:
            return copy.deepcopy(list(self._requests))

    def clear(self) -> None:
        """Delete every record."""
        with self._lock:
            self._requests.clear()


def _is_connected(request: web.Request) -> bool:
    return request.transport is not None and not request.transport.is_closing()
