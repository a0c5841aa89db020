"""Wait for CDR exports in the triggerer, without a worker slot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_flowroute.exceptions import (
    CdrExportFailedError,
    CdrExportTimeoutError,
    FlowrouteError,
)
from airflow_provider_flowroute.hooks.flowroute import FlowrouteHook
from airflow_provider_flowroute.triggers.poller import Poller
from airflow_provider_flowroute.triggers.poller_registry import joined
from airflow_provider_flowroute.triggers.waits import ENDED, RETRYING, TIMEOUT, Wait

#: Seconds. On Airflow 3.3 and the 3.4 beta, the scheduler may fail a task whose trigger fires within about 5 s of its
#: deferral.
MIN_DEFERRAL_SECONDS = 10

#: Added to the trigger's own deadline, this is how long Airflow lets a task be deferred. It applies if no triggerer
#: runs any longer.
DEFERRAL_GRACE = timedelta(minutes=10)

#: Seconds between two log lines about a wait whose status does not change.
PROGRESS_INTERVAL = 600


class CdrExportTrigger(BaseTrigger):
    """Fire when an export is completed or has failed, or at the deadline.

    All triggers of a connection share a :class:`.Poller`. All times are absolute, and a trigger keeps no state between
    polls. So a trigger that a restarted triggerer creates again has the same deadline and the same result, even while
    the first one still runs.

    :param export_id: ID of the export.
    :param flowroute_conn_id: ID of the Airflow connection.
    :param poke_interval: seconds between two polls.
    :param deadline: end of the wait, in seconds since the epoch. There is always a poll at or after the deadline; the
        trigger waits at most a second for its answer.
    :param first_poll_at: time of the first poll, in seconds since the epoch; see :meth:`starting_now`. The trigger
        never fires earlier.
    """

    def __init__(
        self,
        export_id: str,
        flowroute_conn_id: str,
        poke_interval: float,
        deadline: float,
        first_poll_at: float,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.export_id = export_id
        self.flowroute_conn_id = flowroute_conn_id
        self.poke_interval = poke_interval
        self.deadline = deadline
        self.first_poll_at = first_poll_at

    @classmethod
    def starting_now(
        cls, export_id: str, *, flowroute_conn_id: str, poke_interval: float, timeout: float
    ) -> CdrExportTrigger:
        """Create a trigger for a task that has just polled the export and is about to defer.

        :param export_id: ID of the export.
        :param flowroute_conn_id: ID of the Airflow connection.
        :param poke_interval: seconds between two polls.
        :param timeout: seconds that the wait may still take.
        """
        now = time.time()
        first_poll_at = now + max(MIN_DEFERRAL_SECONDS, min(poke_interval, timeout))
        return cls(export_id, flowroute_conn_id, poke_interval, now + timeout, first_poll_at)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the constructor arguments, which are JSON scalars."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "export_id": self.export_id,
                "flowroute_conn_id": self.flowroute_conn_id,
                "poke_interval": self.poke_interval,
                "deadline": self.deadline,
                "first_poll_at": self.first_poll_at,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then yield one event with ``status``, ``export_id`` and ``message``."""
        status, message = await self._wait()
        await asyncio.sleep(max(0.0, self.first_poll_at - time.time()))
        yield TriggerEvent({"status": status, "export_id": self.export_id, "message": message})

    async def _wait(self) -> tuple[str, str]:
        """Return the status and the message of the event."""
        try:
            options = await client_options(self.flowroute_conn_id)
        except (FlowrouteError, AirflowNotFoundException) as e:
            return "error", str(e)
        wait = Wait(str(self.export_id), self.poke_interval, self.deadline, self.first_poll_at)
        with joined(options, wait) as poller:
            status, message = await self._follow(wait, poller)
        if status == TIMEOUT:
            message = (
                f"Export {self.export_id} was not completed before its deadline.\n"
                f"Last poll: {message}\n"
                f"Check the export in Flowroute's portal, or increase the timeout."
            )
        return status, message

    async def _follow(self, wait: Wait, poller: Poller) -> tuple[str, str]:
        """Log the progress of a wait, and return its end."""
        log_at = time.time() + PROGRESS_INTERVAL
        while True:
            try:
                async with asyncio.timeout(min(log_at, poller.ends_at(wait)) - time.time()):
                    status, message = await wait.updates.get()
            except TimeoutError:
                if time.time() >= poller.ends_at(wait):
                    return TIMEOUT, wait.message
                if time.time() >= log_at:
                    log_at += PROGRESS_INTERVAL
                    self._log_progress(wait, poller)
                continue
            if status in ENDED:
                return status, message
            if status == RETRYING:
                self.log.warning("Polling of export %s is delayed.\n%s", self.export_id, message)
            else:
                self.log.info(message)

    def _log_progress(self, wait: Wait, poller: Poller) -> None:
        self.log.info(
            "Still waiting for export %s, %d minutes after the first poll. Next poll: %s.\nLast poll: %s",
            self.export_id,
            (time.time() - self.first_poll_at) // 60,
            datetime.fromtimestamp(poller.starts_at(wait), UTC).isoformat(" ", "seconds"),
            wait.message,
        )


_lookups: dict[tuple[asyncio.AbstractEventLoop, str], asyncio.Task[dict[str, Any]]] = {}


async def client_options(conn_id: str) -> dict[str, Any]:
    """Look up a connection. Triggers that start together share one lookup: 1,000 would delay the event loop."""
    key = asyncio.get_running_loop(), conn_id
    if key not in _lookups:
        _lookups[key] = asyncio.create_task(FlowrouteHook(conn_id).aget_client_options())
        _lookups[key].add_done_callback(lambda _: _lookups.pop(key))
    return await asyncio.shield(_lookups[key])  # The lookup goes on if one of its triggers is cancelled.


def export_id_from_event(event: object) -> str:
    """Return the export ID in an event of :class:`CdrExportTrigger` that reports a completed export.

    :param event: the event. Anything that does not clearly report a completed export raises an error.
    :raises CdrExportFailedError: the export failed.
    :raises CdrExportTimeoutError: the export was not completed before the deadline.
    :raises FlowrouteError: anything else, with the trigger's message.
    """
    status = event.get("status") if isinstance(event, dict) else None
    if status is None or not isinstance(event, dict) or not event.get("export_id"):
        raise FlowrouteError(f"The trigger gave no usable event: {event!r}.")
    if status == "completed":
        return str(event["export_id"])
    errors = {"failed": CdrExportFailedError, "timeout": CdrExportTimeoutError, "error": FlowrouteError}
    message = event.get("message") or f"The trigger ended with {status!r}."
    raise errors.get(status, FlowrouteError)(str(message))
