"""Callbacks: the account sends a POST request when an export ends, and repeats it until the answer is 200."""

from __future__ import annotations

import asyncio
import copy
import ipaddress
import json
import threading
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from airflow_provider_flowroute.simulator.exports import SimulatedExport
from airflow_provider_flowroute.simulator.faults import FaultQueue

_HEADERS = {"User-Agent": "Go-http-client/1.1", "Content-Type": "application/json"}
_TIMEOUT = aiohttp.ClientTimeout(total=5)
_CUSTOMER_ID = "33fd86cd562457f5b9653ce8c9f6b207"


@dataclass
class SentCallback:
    """A callback that was sent, or that was not sent because its URL is on another machine.

    :param url: its URL.
    :param payload: its JSON document.
    :param body: its body as sent; a fault can make it differ from the document.
    :param status: the HTTP status of the response; None if there was none.
    :param error: why there is no status.
    """

    url: str
    payload: dict[str, Any]
    body: str
    status: int | None = None
    error: str | None = None


class Callbacks:
    """Send callbacks, to this machine only, and record them. The records are readable from any thread."""

    def __init__(self, faults: FaultQueue, retries: int, retry_seconds: float) -> None:
        for name, number in (("callback_retries", retries), ("callback_retry_seconds", retry_seconds)):
            if not number >= 0:
                raise ValueError(f"The simulator's {name} must be a number of 0 or more, not {number}.")
        self._faults = faults
        self._retries = retries
        self._retry_seconds = retry_seconds
        self._sent: list[SentCallback] = []
        self._resets = 0
        self._lock = threading.Lock()

    async def send(self, export: SimulatedExport) -> None:
        """Send the callback of an ended export, if it has a callback URL."""
        if export.callback_url is None or export.status not in ("completed", "failed"):
            return
        payload, resets = _payload(export), self._resets
        for attempt in range(1 + self._retries):
            if attempt:
                await asyncio.sleep(self._retry_seconds)
            if resets != self._resets:
                return
            for _ in range(2 if self._faults.take("callback", ["duplicate_callback"]) else 1):
                callback = await self._deliver(export.callback_url, payload)
            ignored = self._faults.take("callback", ["retried_callback"])
            if (callback.status == 200 and not ignored) or not is_loopback(export.callback_url):
                return

    async def _deliver(self, url: str, payload: dict[str, Any]) -> SentCallback:
        body = json.dumps(payload)
        if self._faults.take("callback", ["garbled_callback"]):
            body = body[: len(body) // 2]
        callback = SentCallback(url, payload, body)
        if is_loopback(url):
            try:
                callback.status = await _post(url, body)
            except (aiohttp.ClientError, ValueError, OSError) as error:
                callback.error = f"{type(error).__name__}: {error}"
        else:
            callback.error = "Not sent: the simulator only sends callbacks to this machine."
        with self._lock:
            self._sent.append(callback)
        return callback

    def all(self) -> list[SentCallback]:
        """Return copies of the callbacks, oldest first."""
        with self._lock:
            return copy.deepcopy(self._sent)

    def clear(self) -> None:
        """Delete every callback, and do not repeat any."""
        with self._lock:
            self._sent.clear()
            self._resets += 1


def is_loopback(url: str) -> bool:
    """Return whether a URL is on this machine."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _post(url: str, body: str) -> int:
    async with (
        aiohttp.ClientSession(timeout=_TIMEOUT, headers=_HEADERS) as session,
        session.post(url, data=body.encode(), allow_redirects=False) as response,
    ):
        return response.status


def _payload(export: SimulatedExport) -> dict[str, Any]:
    """Return the envelope that Flowroute publishes for port orders, with the values of an export."""
    now = datetime.now(UTC)
    event_id = str(uuid.uuid4())
    attributes = {
        "at": now.isoformat(timespec="microseconds"),
        "customer_id": _CUSTOMER_ID,
        "event_type": "status_change",
        "id": event_id,
        "message": f"CDR Export #{export.id} is {export.status}.",
        "resource_id": export.id,
        "resource_type": "cdrexports",
        "status": export.status,
        "timestamp": now.isoformat(timespec="microseconds"),
        "type": "event",
        "url_override": export.callback_url,
        "version": "1.0",
    }
    timestamp = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    data = {"attributes": attributes, "id": event_id, "type": "cdrexport_status_change"}
    return {"data": data | {"timestamp": timestamp}}
