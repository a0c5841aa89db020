"""Callbacks: the account sends a POST when an export ends."""

from __future__ import annotations

import copy
import ipaddress
import threading
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from airflow_provider_flowroute.simulator.exports import SimulatedExport

_USER_AGENT = "Go-http-client/1.1"
_TIMEOUT = aiohttp.ClientTimeout(total=5)


@dataclass
class SentCallback:
    """A callback that was sent, or that was not sent because its URL is on another machine.

    :param url: its URL.
    :param payload: its JSON body.
    :param status: the HTTP status of the response; None if there was none.
    :param error: why there is no status.
    """

    url: str
    payload: dict[str, Any]
    status: int | None = None
    error: str | None = None


class Callbacks:
    """Send callbacks, to this machine only, and record the results. Results are readable from any thread."""

    def __init__(self) -> None:
        self._sent: list[SentCallback] = []
        self._lock = threading.Lock()

    async def send(self, export: SimulatedExport) -> None:
        """Send the callback of an ended export, if it has a callback URL.

        :param export: the ended export.
        """
        if export.callback_url is None or export.status not in ("completed", "failed"):
            return
        callback = SentCallback(export.callback_url, _payload(export))
        if is_loopback(export.callback_url):
            try:
                callback.status = await _post(callback)
            except (aiohttp.ClientError, ValueError, OSError) as error:
                callback.error = f"{type(error).__name__}: {error}"
        else:
            callback.error = "Not sent: the simulator only sends callbacks to this machine."
        with self._lock:
            self._sent.append(callback)

    def all(self) -> list[SentCallback]:
        """Return copies of the callbacks, oldest first."""
        with self._lock:
            return copy.deepcopy(self._sent)

    def clear(self) -> None:
        """Delete every callback."""
        with self._lock:
            self._sent.clear()


def is_loopback(url: str) -> bool:
    """Return whether a URL is on this machine.

    :param url: the URL.
    """
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _post(callback: SentCallback) -> int:
    async with (
        aiohttp.ClientSession(timeout=_TIMEOUT, headers={"User-Agent": _USER_AGENT}) as session,
        session.post(callback.url, json=callback.payload, allow_redirects=False) as response,
    ):
        return response.status


def _payload(export: SimulatedExport) -> dict[str, Any]:
    return {
        "data": {
            "id": str(uuid.uuid4()),
            "type": "cdrexport",
            "attributes": {
                "event_type": "cdrexport.status",
                "resource_id": export.id,
                "resource_type": "cdrexport",
                "status": export.status,
                "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
            },
        }
    }
