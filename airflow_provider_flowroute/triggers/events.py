"""Watch an account, and report each export that completes: the trigger of an ``AssetWatcher`` (Airflow 3)."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_flowroute.api.client import PAGE_SIZE
from airflow_provider_flowroute.cdr.export import CdrExport, ExportStatus
from airflow_provider_flowroute.cdr.filters import parse_filter_parameters
from airflow_provider_flowroute.cdr.request import CdrExportRequest, same_request
from airflow_provider_flowroute.cdr.window import WINDOW_END, WINDOW_START
from airflow_provider_flowroute.exceptions import FlowrouteError, FlowrouteValueError
from airflow_provider_flowroute.hooks.flowroute import FlowrouteHook
from airflow_provider_flowroute.triggers.cdr_export import client_options
from airflow_provider_flowroute.triggers.poller import Poller
from airflow_provider_flowroute.triggers.poller_registry import joined
from airflow_provider_flowroute.triggers.waits import Watch
from airflow_provider_flowroute.utils.watch_state import WatchState, expiry_of

if TYPE_CHECKING:
    from airflow.triggers.base import BaseEventTrigger
else:
    try:
        from airflow.triggers.base import BaseEventTrigger
    except ImportError:  # Airflow 2, which imports this module too

        class _BaseEventTrigger(BaseTrigger):
            def __init__(self) -> None:
                raise NotImplementedError(
                    "CdrExportCompletedEventTrigger needs Airflow 3.\n"
                    "Airflow 2 has no AssetWatcher.\n"
                    "Use CdrExportSensor to wait for an export, or upgrade Airflow."
                )

        BaseEventTrigger = _BaseEventTrigger


#: Seconds between two looks at the asset's state store: for a callback, and to confirm events.
TICK = 1.0
#: Seconds after which Airflow has surely stored an event: the triggerer hands events over once a second.
CONFIRM_AFTER = 3.0
#: Seconds between the last event of a burst and the one before. Airflow's scheduler starts no run for an event that
#: arrives while an earlier one waits for its run; the run of the next event then gets both (3.0 to 3.3). So the last
#: event must arrive when none waits.
GAP = 3.0
#: Seconds after which the connection is looked up again, so that a watcher gets new keys.
REJOIN_INTERVAL = 600.0
#: Seconds until a watcher tries again after an error that lasts, such as refused keys.
ERROR_PAUSE = 60.0


class CdrExportCompletedEventTrigger(BaseEventTrigger):
    """Report each CDR export of the account that completes, also those of other programs.

    Use it in an ``AssetWatcher``. An event has the export's ID, window, calls, cost and request fingerprint, never its
    link. All watchers and waits of a connection share a poller: it reads the account's list once a round.

    On Airflow 3.3 and later, the asset's state store has the exports that were reported in the last three days. No
    event comes twice, and exports that complete while no triggerer runs are reported later. On Airflow 3.0 to 3.2, the
    events start with each start of the triggerer.

    :param flowroute_conn_id: ID of the Airflow connection.
    :param poke_interval: time between two polls: seconds or a timedelta. A callback causes a poll at once.
    :param min_window: report only exports whose window has at least this length: seconds or a timedelta.
    :param max_window: report only exports whose window has at most this length: seconds or a timedelta.
    :param filter_parameters: report only exports that were requested with exactly these filters; ``{}`` means exports
        of all calls.
    :param callback_url_prefix: report only exports whose callback URL starts with this text.
    :raises NotImplementedError: on Airflow 2.
    :raises FlowrouteValueError: if a filter or a duration is invalid.
    """

    def __init__(
        self,
        flowroute_conn_id: str = FlowrouteHook.default_conn_name,
        poke_interval: float | timedelta = 60,
        *,
        min_window: float | timedelta | None = None,
        max_window: float | timedelta | None = None,
        filter_parameters: Mapping[str, Any] | None = None,
        callback_url_prefix: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flowroute_conn_id = flowroute_conn_id
        self.poke_interval = _seconds("poke_interval", poke_interval)
        self.min_window = None if min_window is None else _seconds("min_window", min_window)
        self.max_window = None if max_window is None else _seconds("max_window", max_window)
        self.filter_parameters = (
            None if filter_parameters is None else parse_filter_parameters(filter_parameters)[0]
        )
        self.callback_url_prefix = callback_url_prefix
        # The exports in process that the last round saw; None before the first round.
        self._in_process: set[str] | None = None
        self._state: WatchState
        self._callback: object = None
        self._has_callbacks = False
        # The completed exports whose events are not due yet, oldest first, and the time of the next events.
        self._pending: dict[str, CdrExport] = {}
        self._tick_at = self._confirm_at = self._events_at = 0.0
        self._last_error = ""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the constructor arguments, as JSON."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "flowroute_conn_id": self.flowroute_conn_id,
                "poke_interval": self.poke_interval,
                **self._filters(),
            },
        )

    def _filters(self) -> dict[str, Any]:
        return {
            "min_window": self.min_window,
            "max_window": self.max_window,
            "filter_parameters": self.filter_parameters,
            "callback_url_prefix": self.callback_url_prefix,
        }

    def _watch_id(self) -> str:
        """Return what identifies this watcher among those of its asset, after a restart too."""
        filters = json.dumps(self._filters(), sort_keys=True)
        return f"{self.flowroute_conn_id}:{hashlib.sha256(filters.encode()).hexdigest()[:16]}"

    def matches(self, export: CdrExport) -> bool:
        """Return whether the filters of this watcher select an export.

        :param export: the export.
        """
        window = export.window
        seconds = (window.end - window.start).total_seconds() if window else None
        if self.min_window is not None and (seconds is None or seconds < self.min_window):
            return False
        if self.max_window is not None and (seconds is None or seconds > self.max_window):
            return False
        if not (export.callback_url or "").startswith(self.callback_url_prefix or ""):
            return False
        requested = {
            name: value
            for name, value in export.filter_parameters.items()
            if name not in (WINDOW_START, WINDOW_END)
        }
        return self.filter_parameters is None or same_request(requested, self.filter_parameters)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield an event for each export that completes. An error delays the events, and never ends the watch."""
        while not await self._load_state():
            await asyncio.sleep(TICK)
        next_poll_at = time.time()
        while True:
            try:
                options = await client_options(self.flowroute_conn_id)
                self._has_callbacks = (
                    await FlowrouteHook(self.flowroute_conn_id).aget_callback_secret() is not None
                )
            except (FlowrouteError, AirflowNotFoundException) as e:
                self._log_error(str(e))
                await asyncio.sleep(ERROR_PAUSE)
                continue
            watch = Watch(self.poke_interval, next_poll_at, self._needs_next_page)
            rejoin_at = time.time() + REJOIN_INTERVAL
            with joined(options, watch) as poller:
                while watch.next_poll_at < math.inf and time.time() < rejoin_at:
                    if (exports := await self._next_exports(watch, poller)) is not None:
                        await self._note(exports)
                    for event in await self._due_events():
                        yield event
            if watch.next_poll_at == math.inf:  # after an error that lasts
                await asyncio.sleep(ERROR_PAUSE)
            next_poll_at = watch.next_poll_at if watch.next_poll_at < math.inf else time.time()

    async def _load_state(self) -> bool:
        self._state = WatchState(getattr(self, "asset_state_store", None), self._watch_id())
        try:
            await self._state.load()
            self._callback = await self._state.read_callback()
        except FlowrouteError as e:
            self._log_error(str(e))
            return False
        if self._state.unconfirmed:
            self.log.warning(
                "The triggerer stopped while it reported exports: %s.\n"
                "Airflow may not have stored their asset events.\n"
                "If an event is missing, create it on the page of the asset.",
                ", ".join(self._state.unconfirmed),
            )
        return True

    async def _next_exports(self, watch: Watch, poller: Poller) -> list[CdrExport] | None:
        """Return the exports that the next round has read; None if it has failed, or if a moment has passed."""
        try:
            due_at = self._events_at if self._pending else math.inf
            async with asyncio.timeout(min(self._tick_at, due_at) - time.time()):
                result = await watch.results.get()
        except TimeoutError:
            await self._tick(watch, poller)
            return None
        if isinstance(result, str):
            self._log_error(result)
            return None
        return result

    async def _tick(self, watch: Watch, poller: Poller) -> None:
        """Confirm events, and poll at once after a callback."""
        if time.time() < self._tick_at:
            return
        self._tick_at = time.time() + TICK
        try:
            if time.time() >= self._confirm_at:
                await self._state.confirm()
            if self._has_callbacks and (callback := await self._state.read_callback()) != self._callback:
                self._callback = callback
                poller.poll_now(watch)
        except FlowrouteError as e:
            self._log_error(str(e))

    async def _note(self, exports: Sequence[CdrExport]) -> None:
        """Note the exports that have completed since the last round. The first start only marks them."""
        self._in_process = {export.id for export in exports if export.status is ExportStatus.PROCESSING}
        completed = [export for export in reversed(exports) if self._is_news(export)]
        if not self._state.is_new:
            self._pending.update((export.id, export) for export in completed)
            if not self._pending:
                self._last_error = ""
        elif await self._mark(completed):
            self.log.info("Watching connection %r from now on.", self.flowroute_conn_id)

    async def _due_events(self) -> list[TriggerEvent]:
        """Mark the exports whose events are due, and return the events, oldest first."""
        exports = list(self._pending.values())
        if time.time() < self._events_at or not exports:
            return []
        due = exports[:-1] or exports
        if not await self._mark(due):
            return []
        self._events_at, self._confirm_at = time.time() + GAP, time.time() + CONFIRM_AFTER
        for export in due:
            del self._pending[export.id]
            self.log.info("Export %s is completed.", export.id)
        return [TriggerEvent(payload_of(export)) for export in due]

    async def _mark(self, exports: Sequence[CdrExport]) -> bool:
        try:
            await self._state.mark(exports, time.time())
        except FlowrouteError as e:
            self._log_error(str(e))
            self._events_at = time.time() + TICK
            return False
        self._last_error = ""
        return True

    def _is_news(self, export: CdrExport) -> bool:
        return (
            export.is_completed
            and export.id not in self._state.reported
            and export.id not in self._pending
            and not _is_expired(export)
            and self.matches(export)
        )

    def _needs_next_page(self, read: Sequence[CdrExport]) -> bool:
        """Return whether the next page of the list may have an export that has completed since the last round.

        The list is in the order of creation, so an export of any page can be the next one to complete. The first round
        reads all pages with exports of the last days, and later ones those with exports that were in process.
        """
        page = read[-PAGE_SIZE:]
        if all(map(_is_expired, page)):
            return False
        if self._in_process is None:
            return True
        return not self._in_process <= {export.id for export in read} or any(map(self._is_news, page))

    def _log_error(self, message: str) -> None:
        if message != self._last_error:
            self.log.warning("Events of connection %r are delayed.\n%s", self.flowroute_conn_id, message)
        self._last_error = message


def payload_of(export: CdrExport) -> dict[str, str | int | None]:
    """Return the payload of an export's event. It never contains the link.

    :param export: a completed export.
    """
    window = export.window
    return {
        "export_id": export.id,
        "window_start": window.start.isoformat() if window else None,
        "window_end": window.end.isoformat() if window else None,
        "num_calls": export.num_calls,
        "total_cost": export.summary()["total_cost"],
        "fingerprint": CdrExportRequest(export.filter_parameters, export.callback_url).fingerprint,
    }


def _is_expired(export: CdrExport) -> bool:
    """Return whether the export's file is gone, or will never come."""
    expires_at = expiry_of(export)
    return expires_at is not None and expires_at <= datetime.now(UTC)


def _seconds(name: str, value: float | timedelta) -> float:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
        raise FlowrouteValueError(
            f"{name} is not a duration above 0.\n"
            f"It is {value!r} ({type(value).__name__}).\n"
            f"Give seconds or a timedelta, such as timedelta(days=1)."
        )
    return float(seconds)
