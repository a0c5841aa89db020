"""What the account was asked: every request to either port, in order of arrival."""

from __future__ import annotations

import copy
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from aiohttp import web

_KEPT = 10_000


@dataclass
class RecordedRequest:
    """A request that reached the simulator.

    :param on: ``create``, ``status``, ``list``, ``download`` or ``other``.
    :param method: the HTTP method.
    :param path: the path, without the query.
    :param query: the query's parameters.
    :param status: the HTTP status that was answered; None while it is at work, and when the connection
        was dropped without an answer.
    :param has_authorization: whether an ``Authorization`` header came with it.
    :param headers: its headers, names in lower case; what ``Authorization`` held is not kept.
    """

    on: str
    method: str
    path: str
    query: dict[str, str]
    status: int | None
    has_authorization: bool
    headers: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """Give what the control endpoint shows."""
        return asdict(self)


class RequestLog:
    """The recorded requests; safe to use from any thread.

    :param on_request: called with each request once it is answered.
    """

    def __init__(self, on_request: Callable[[RecordedRequest], None] | None = None) -> None:
        self._requests: deque[RecordedRequest] = deque(maxlen=_KEPT)
        self._lock = threading.Lock()
        self._on_request = on_request

    def begin(self, on: str, request: web.Request) -> RecordedRequest:
        """Record a request that has just arrived.

        :param on: which of the service's requests it is.
        :param request: the request.
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
        """Say that a request has been dealt with.

        :param record: what :meth:`begin` gave.
        """
        if self._on_request:
            self._on_request(replace(record))

    def all(self) -> list[RecordedRequest]:
        """Give copies of the recorded requests, oldest first."""
        with self._lock:
            return copy.deepcopy(list(self._requests))

    def clear(self) -> None:
        """Forget every request."""
        with self._lock:
            self._requests.clear()
