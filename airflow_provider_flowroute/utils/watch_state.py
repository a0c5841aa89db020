"""What a watcher of completed exports has reported, in the state store of its asset.

Airflow 3.3 and later give a watcher's trigger a store that survives a restart of the triggerer. On earlier versions the
state lives as long as the trigger.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from airflow_provider_flowroute.cdr.export import CdrExport
from airflow_provider_flowroute.exceptions import FlowrouteError

log = logging.getLogger(__name__)

#: The prefixes of the keys in the asset's state store. Never rename one: a watcher restarts after an upgrade.
REPORTED_KEY = "flowroute_reported"
CALLBACK_KEY = "flowroute_callback"
#: Time after which an export whose expiry is unknown is taken as expired. A file lives for three days.
MAX_AGE = timedelta(days=4)


def expiry_of(export: CdrExport) -> datetime | None:
    """Return when the file of an export expires; None if Flowroute returns no time of the export.

    :param export: the export.
    """
    since = export.created_at or export.requested_at
    return export.expires_at or (since and since + MAX_AGE)


class WatchState:
    """The exports that a watcher has reported and whose files still exist: those of the last three days.

    An export is marked before its event is given to Airflow, so no event comes twice. Airflow stores the event up to a
    second later. :attr:`unconfirmed` has the exports whose events may have been lost, if the triggerer was killed
    within that time.

    :param store: the trigger's ``asset_state_store``; None if this Airflow has none.
    :param watch_id: identifies the connection and the filters of the watcher among the watchers of its asset.
    """

    def __init__(self, store: Any, watch_id: str) -> None:
        self._store = store
        self._key = f"{REPORTED_KEY}:{watch_id}"
        #: When the files of the reported exports expire, in seconds since the epoch; 0 if Flowroute does not say.
        self.reported: dict[str, float] = {}
        self.unconfirmed: list[str] = []
        #: Whether this is the first start of the watcher, whose events start from now.
        self.is_new = True

    async def load(self) -> None:
        """Load what the watcher has reported before this triggerer started.

        :raises FlowrouteError: the store cannot be read.
        """
        try:
            stored = await self._call("get", self._key)
        except ValueError:
            log.warning(
                "The watcher cannot store what it has reported: several assets have a watcher with equal arguments.\n"
                "After a restart of the triggerer, its events start from then.\n"
                "Give the watcher of each asset another argument, for example another poke_interval."
            )
            self._store = stored = None
        if isinstance(stored, dict):
            self.reported = {str(name): float(expiry) for name, expiry in stored["reported"].items()}
            self.unconfirmed = list(stored["unconfirmed"])
            self.is_new = False

    async def mark(self, exports: Iterable[CdrExport], now: float) -> None:
        """Mark exports as reported, before their events are given to Airflow.

        :param exports: the exports.
        :param now: the current time, in seconds since the epoch.
        :raises FlowrouteError: the store cannot be written; nothing is marked.
        """
        expiries = {export.id: expiry_of(export) for export in exports}
        marked = {name: expiry.timestamp() if expiry else 0.0 for name, expiry in expiries.items()}
        kept = {name: expiry for name, expiry in self.reported.items() if not 0 < expiry <= now}
        # What was complete before the first start is only marked: no event follows.
        await self._save(kept | marked, [] if self.is_new else [*self.unconfirmed, *marked])

    async def confirm(self) -> None:
        """Note that Airflow has stored the events of all marked exports.

        :raises FlowrouteError: the store cannot be written.
        """
        if self.unconfirmed:
            await self._save(self.reported, [])

    async def read_callback(self) -> object:
        """Return a value that changes with each callback that the receiver accepts; None before the first one.

        :raises FlowrouteError: the store cannot be read.
        """
        return await self._call("get", CALLBACK_KEY)

    async def _save(self, reported: dict[str, float], unconfirmed: list[str]) -> None:
        await self._call("set", self._key, {"reported": reported, "unconfirmed": unconfirmed})
        self.reported, self.unconfirmed, self.is_new = reported, unconfirmed, False

    async def _call(self, method: str, *arguments: object) -> Any:
        if self._store is None:
            return None
        from airflow.sdk.exceptions import AirflowRuntimeError

        try:
            if without_blocking := getattr(self._store, f"a{method}", None):
                return await without_blocking(*arguments)
            # Airflow 3.3.0 and 3.3.1
            return await asyncio.to_thread(getattr(self._store, method), *arguments)
        except AirflowRuntimeError as e:
            raise FlowrouteError(
                f"The watcher cannot use the state store of its asset.\n{e}\n"
                f"It tries again. If this continues, check Airflow's database and the log of the triggerer."
            ) from None
