"""Requests that are held: neither answered nor refused until somebody says so."""

from __future__ import annotations

import asyncio
import copy
import threading

from aiohttp import web

from airflow_provider_flowroute.simulator.request_log import RecordedRequest

#: Seconds between looks whether the client is still there.
_GLANCE = 0.05


class HeldRequests:
    """The requests that are held at the moment; safe to use from any thread."""

    def __init__(self) -> None:
        self._held: list[tuple[RecordedRequest, threading.Event]] = []
        self._lock = threading.Lock()

    async def hold(self, request: web.Request, record: RecordedRequest) -> bool:
        """Hold a request until it is released or its client hangs up.

        :param request: the request.
        :param record: its record.
        :return: whether the client is still there.
        """
        entry = (record, threading.Event())
        with self._lock:
            self._held.append(entry)
        try:
            while not entry[1].is_set() and _is_there(request):
                await asyncio.sleep(_GLANCE)
            return _is_there(request)
        finally:
            with self._lock:
                self._held.remove(entry)

    def all(self) -> list[RecordedRequest]:
        """Give copies of the records of the held requests, oldest first."""
        with self._lock:
            return copy.deepcopy([record for record, _ in self._held])

    def release(self) -> None:
        """Let every held request go on."""
        with self._lock:
            for _, released in self._held:
                released.set()


def _is_there(request: web.Request) -> bool:
    return request.transport is not None and not request.transport.is_closing()
