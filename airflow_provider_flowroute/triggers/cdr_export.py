"""The wait for an export, without a worker slot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_flowroute.exceptions import (
    CdrExportFailedError,
    CdrExportTimeoutError,
    FlowrouteError,
)
from airflow_provider_flowroute.hooks.flowroute import FlowrouteHook

#: Seconds. On Airflow 3.3 a task whose trigger fires within about 5 s of its deferral may be failed by the scheduler.
MIN_DEFERRAL_SECONDS = 10

#: How much longer Airflow may hold the task than the trigger's own deadline, which is the one that counts: it is
#: for a triggerer that is down for good.
DEFERRAL_GRACE = timedelta(minutes=10)


class CdrExportTrigger(BaseTrigger):
    """Fires once an export is completed, has failed, or has used up its time.

    Times are absolute and nothing is remembered between looks, so a trigger that a restarted triggerer makes
    anew, even beside the first, waits no longer and comes to the same end.

    :param export_id: the export's id.
    :param flowroute_conn_id: the id of the Airflow connection.
    :param poke_interval: seconds between looks.
    :param deadline: when to stop waiting, in seconds since the epoch. There is always one look at or after it.
    :param first_poll_at: when to look first, in seconds since the epoch; see :meth:`starting_now`.
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
        """A trigger for a task that looked a moment ago and is about to defer.

        :param poke_interval: seconds between looks.
        :param timeout: seconds left to wait.
        """
        now = time.time()
        first_poll_at = now + max(MIN_DEFERRAL_SECONDS, min(poke_interval, timeout))
        return cls(export_id, flowroute_conn_id, poke_interval, now + timeout, first_poll_at)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and constructor arguments, all JSON scalars."""
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
        """Wait; then one event: ``status``, ``export_id``, ``message``."""
        client = await FlowrouteHook(self.flowroute_conn_id).aget_conn()
        look_at = self.first_poll_at
        while True:
            await asyncio.sleep(max(0.0, look_at - time.time()))
            try:
                export = await asyncio.to_thread(client.poll_cdr_export, self.export_id)
            except FlowrouteError as e:
                yield self._event("failed" if isinstance(e, CdrExportFailedError) else "error", str(e))
                return
            if export is not None:
                yield self._event("completed", f"Export {self.export_id} is completed.")
                return
            now = time.time()
            if now >= self.deadline:
                yield self._event(
                    "timeout", f"Export {self.export_id} was not completed in the time given to it."
                )
                return
            look_at = min(now + self.poke_interval, self.deadline)

    def _event(self, status: str, message: str) -> TriggerEvent:
        return TriggerEvent({"status": status, "export_id": self.export_id, "message": message})


def export_id_from_event(event: object) -> str:
    """The id in an event of :class:`CdrExportTrigger`, if the event says that the export is completed.

    Fails closed: what is not surely a completion is an error.

    :raises CdrExportFailedError: the export failed.
    :raises CdrExportTimeoutError: the time was over.
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
