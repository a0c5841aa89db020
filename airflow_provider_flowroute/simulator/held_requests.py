"""Requests that a fault holds, without an answer, until they are released."""

from __future__ import annotations

import asyncio
import copy
import threading

from aiohttp import web

from airflow_provider_flowroute.simulator.request_log import RecordedRequest

#: Seconds between two checks whether the client is still connected.
_POLL_SECONDS = 0.05


class HeldRequests:
    """The requests that are currently held. Safe to use from any thread."""

    def __init__(self) -> None:
        self._held: list[tuple[RecordedRequest, threading.Event]] = []
        self._lock = threading.Lock()

    async def hold(self, request: web.Request, record: RecordedRequest) -> bool:
        """Hold a request until it is released or its client disconnects.

        :param request: the request.
        :param record: its record.
        :return: whether the client is still connected.
        """
        released = threading.Event()
        entry = (record, released)
        with self._lock:
            self._held.append(entry)
        try:
            while not released.is_set() and _is_connected(request):
                await asyncio.sleep(_POLL_SECONDS)
            return _is_connected(request)
        finally:
            with self._lock:
                self._held.remove(entry)

    def all(self) -> list[RecordedRequest]:
        """Return copies of the records of the held requests, oldest first."""
        with self._lock:
            return copy.deepcopy([record for record, _ in self._held])

    def release(self) -> None:
        """Release every held request."""
        with self._lock:
            for _, released in self._held:
                released.set()


def _is_connected(request: web.Request) -> bool:
    return request.transport is not None and not request.transport.is_closing()
