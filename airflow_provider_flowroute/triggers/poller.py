"""Poll for all triggers of a connection together: one thread, one HTTP session, few requests.

Triggers share the event loop of the triggerer and asyncio's default executor with the triggers of all other
providers. So a poller schedules its polls in the event loop and sends each request in a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain, islice
from typing import Any, TypeVar

from airflow_provider_flowroute.api.client import PAGE_SIZE, FlowrouteClient
from airflow_provider_flowroute.cdr.export import CdrExport, ExportStatus
from airflow_provider_flowroute.exceptions import (
    CdrExportFailedError,
    FlowrouteAuthenticationError,
    FlowrouteConnectionConfigError,
    FlowrouteError,
)
from airflow_provider_flowroute.triggers.daemon_thread import DaemonThread
from airflow_provider_flowroute.triggers.waits import (
    COMPLETED,
    ENDED,
    ERROR,
    FAILED,
    PROCESSING,
    RETRYING,
    TIMEOUT,
    Wait,
    Watch,
)
from airflow_provider_flowroute.utils.metrics import Metric, count, gauge

log = logging.getLogger(__name__)
_T = TypeVar("_T")

#: Seconds. Together they limit how long a request without an answer delays a round.
REQUEST_LIMITS = {"connect_timeout": 10, "read_timeout": 20}
#: Seconds between last polls while the API answers with transient errors.
LAST_POLL_PAUSE = 0.3
#: Last polls of an export that may fail before its waits give up.
MAX_LAST_POLLS = 3
#: Requests for the list that may fail before a round polls by ID instead.
MAX_LIST_FAILURES = 2
#: Seconds. After transient errors, the pause grows up to this length, or up to the ``poke_interval``.
MAX_PAUSE = 300
#: Seconds. A longer ``Retry-After`` is probably a mistake.
MAX_RETRY_AFTER = 3600
#: The poller makes every ``poke_interval`` longer, by up to this factor: pollers that start together drift apart.
MAX_JITTER = 1.05


class Poller:
    """Poll the exports of one connection.

    All methods run in the event loop. Use :func:`.poller_registry.joined` instead of creating one.

    :param options: parameters of the :class:`.FlowrouteClient`.
    :param first_round_at: time of the first round; the times of all later rounds follow from it.
    :param on_close: called once, when the poller closes.
    """

    def __init__(
        self, options: dict[str, Any], first_round_at: float, on_close: Callable[[], object]
    ) -> None:
        limited = {name: min(options.get(name, limit), limit) for name, limit in REQUEST_LIMITS.items()}
        # No retries: the next round is the retry.
        self._client = FlowrouteClient(**options | limited | {"retries": 0})
        self._thread = DaemonThread(f"flowroute-poller-{self._client.name}")
        self._waits: dict[str, set[Wait]] = {}
        self._watches: set[Watch] = set()
        self._joined = asyncio.Event()
        self._on_close = on_close
        self._closed = False
        self._failures = self._list_failures = 0
        self._answered_at = self._paused_until = self._retry_after_until = 0.0
        self._jitter = random.uniform(1, MAX_JITTER)  # noqa: S311 - not a secret
        self._first_round_at = first_round_at
        # In a context of its own: the log lines of a poller must not go to the log of the first task.
        self._task = asyncio.create_task(self._run(), context=contextvars.Context())
        self._task.add_done_callback(self._stopped)

    def join(self, wait: Wait | Watch) -> None:
        """Poll for a wait or a watch, until it leaves."""
        if isinstance(wait, Watch):
            self._watches.add(wait)
        else:
            self._waits.setdefault(wait.export_id, set()).add(wait)
        self._joined.set()

    def leave(self, wait: Wait | Watch) -> None:
        """Stop polling for a wait or a watch. The last one to leave closes the poller."""
        if isinstance(wait, Watch):
            self._watches.discard(wait)
        else:
            waits = self._waits.get(wait.export_id, set())
            waits.discard(wait)
            if not waits:
                self._waits.pop(wait.export_id, None)
        if not self._waits and not self._watches:
            self._close()

    def poll_now(self, watch: Watch) -> None:
        """Poll for a watch at once, or after the pause that the connection has."""
        watch.next_poll_at = 0.0
        self._joined.set()

    def ends_at(self, wait: Wait) -> float:
        """Return the time at which a wait gives up, with or without an answer to its last poll.

        While the API answers, the poller can still reach the wait: every answer gives it more time.
        """
        return max(wait.deadline, wait.first_poll_at, wait.joined_at, self._answered_at) + wait.grace

    def starts_at(self, wait: Wait | Watch) -> float:
        """Return the time of the next poll of a wait or a watch: after a pause, if the connection has one.

        The pause that the poller has chosen ends at the deadline, but not the one that Flowroute asks for.
        """
        return max(wait.next_poll_at, self._retry_after_until, min(self._paused_until, wait.deadline))

    async def _run(self) -> None:
        while True:
            self._joined.clear()
            next_round_at = min(map(self.starts_at, self._everyone()), default=math.inf)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._joined.wait(), next_round_at - time.time())
            gauge(Metric.POLLER_SIZE, {"conn_id": self._client.name}, len(self._waits))
            try:
                await self._poll(self._due())
                await self._poll_for_watches()
            except FlowrouteError as e:
                if e.transient:
                    self._slow_down(e)
                # A permanent error that arrives here concerns the connection, so it ends every wait.
                for wait in list(self._everyone()):
                    wait.update(RETRYING if e.transient else ERROR, str(e))
                    await asyncio.sleep(0)  # Let other triggers run: an update can write a log line.

    async def _poll(self, due: list[str]) -> None:
        """Poll exports: first from the list, then by ID those that need it.

        :raises FlowrouteError: an error that concerns the whole connection, or a transient one.
        """
        for export_id in await self._poll_by_list(due):
            for urgent in self._due(last_only=True):  # A round can be long: deadlines come first.
                await self._poll_by_id(urgent)
            await self._poll_by_id(export_id)

    async def _poll_for_watches(self) -> None:
        """Read the account's list once for all watches that are due.

        :raises FlowrouteError: an error that concerns the whole connection, or a transient one.
        """
        now = time.time()
        due = [watch for watch in self._watches if self.starts_at(watch) <= now]
        for watch in due:  # Before the request, because poll_now() during it means another request.
            watch.next_poll_at = self._next_round(watch.poke_interval)
        exports, readers = self._client.list_cdr_exports(), due
        read: list[CdrExport] = []
        try:
            while readers:
                page: list[CdrExport] = await self._request(list, islice(exports, PAGE_SIZE))
                read += page
                readers = [watch for watch in readers if page and watch.needs_next_page(read)]
        except FlowrouteError as e:
            for watch in due:
                watch.next_poll_at = min(watch.next_poll_at, now)
                if not e.transient and not _concerns_connection(e):
                    watch.update(ERROR, str(e))
            if e.transient or _concerns_connection(e):
                raise
        else:
            for watch in due:
                watch.results.put_nowait(read)

    async def _poll_by_list(self, due: list[str]) -> list[str]:
        """Poll exports from the account's list of exports in process, and return those to poll by ID.

        A page costs one request, like a poll by ID. So a page is read only if it can replace more requests than
        the list has cost so far: a list that does not show the exports at most doubles the requests of a round.
        """
        unseen, ended = dict.fromkeys(due), []
        if self._list_failures >= MAX_LIST_FAILURES:
            self._list_failures -= 1  # The next round tries the list again.
            return due
        exports = self._client.list_cdr_exports(ExportStatus.PROCESSING)
        pages, last_page = 0, False
        while len(unseen) > pages + 1 and not last_page:
            asked_at = time.time()
            try:
                page: list[CdrExport] = await self._request(list, islice(exports, PAGE_SIZE))
            except FlowrouteError as e:
                self._list_failures += e.transient
                if e.transient or _concerns_connection(e):
                    raise
                log.info("%s\nPolling the exports by ID instead.", e)
                break
            self._list_failures = 0
            pages, last_page = pages + 1, len(page) < PAGE_SIZE
            for export in page:
                if export.id not in unseen:
                    continue
                del unseen[export.id]
                if export.status is ExportStatus.PROCESSING:
                    self._report(export.id, PROCESSING, f"Export {export.id} is processing.", asked_at)
                    await asyncio.sleep(0)  # Let other triggers run: a report can write a log line.
                else:  # What a status means is decided in one place, below.
                    ended.append(export.id)
        return [*ended, *unseen]

    async def _poll_by_id(self, export_id: str) -> None:
        now = time.time()
        if all(self.starts_at(wait) > now for wait in self._waits.get(export_id, ())):
            return  # No trigger waits for it any longer, or it was polled a moment ago.
        try:
            export = await self._request(self._client.get_cdr_export, export_id)
            export.raise_if_failed()
        except FlowrouteError as e:
            if e.transient or _concerns_connection(e):
                self._count_failure(export_id, str(e))
                raise
            self._report(export_id, FAILED if isinstance(e, CdrExportFailedError) else ERROR, str(e), now)
        else:
            status = COMPLETED if export.is_completed else PROCESSING
            self._report(export_id, status, f"Export {export_id} is {status}.", now)

    async def _request(self, function: Callable[..., _T], *args: object) -> _T:
        """Call a function of the client in the poller's thread."""
        answered = True
        count(Metric.POLLER_REQUESTS, {"conn_id": self._client.name})
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)
        except FlowrouteError as e:
            answered = not e.transient
            raise
        finally:
            if answered:
                self._answered_at, self._failures = time.time(), 0

    def _report(self, export_id: str, status: str, message: str, asked_at: float) -> None:
        """Report the result of a poll to the waits for an export, and schedule their next poll."""
        for wait in self._waits.get(export_id, ()):
            is_over = status == PROCESSING and asked_at >= wait.deadline
            wait.update(TIMEOUT if is_over else status, message)
        self._schedule(export_id)

    def _count_failure(self, export_id: str, message: str) -> None:
        """Schedule the next poll after a failed one: in the next round, the other exports come first."""
        for wait in self._waits.get(export_id, ()):
            wait.failed_last_polls += wait.deadline <= time.time()
            if wait.failed_last_polls >= MAX_LAST_POLLS:
                wait.update(TIMEOUT, message)
        self._schedule(export_id)

    def _schedule(self, export_id: str) -> None:
        """Schedule the next poll of an export.

        Waits with the same ``poke_interval`` are due at the same times, so that one round serves all of them.
        """
        now = time.time()
        for wait in self._waits.get(export_id, ()):
            if wait.status not in ENDED:
                wait.next_poll_at = min(self._next_round(wait.poke_interval), max(wait.deadline, now))

    def _next_round(self, poke_interval: float) -> float:
        interval, passed = poke_interval * self._jitter, time.time() - self._first_round_at
        return self._first_round_at + (passed // interval + 1) * interval

    def _slow_down(self, error: FlowrouteError) -> None:
        """Pause the connection after a transient error: as long as Flowroute asks for, or longer each time."""
        now = time.time()
        count(Metric.POLLER_PAUSES, {"conn_id": self._client.name})
        self._failures = min(self._failures + 1, 10)
        interval = min((wait.poke_interval for wait in self._everyone()), default=0.0)
        pause = min(interval * 2**self._failures, max(interval, MAX_PAUSE))
        self._paused_until = now + pause * random.uniform(0.75, 1)  # noqa: S311 - not a secret
        self._retry_after_until = now + min(getattr(error, "retry_after", None) or 0.0, MAX_RETRY_AFTER)
        for wait in self._all_waits():
            if wait.deadline <= now:
                wait.next_poll_at = max(wait.next_poll_at, now + LAST_POLL_PAUSE)

    def _due(self, *, last_only: bool = False) -> list[str]:
        """Return the IDs of the exports to poll now: those at their deadline first, then the longest due."""
        now = time.time()
        latest = now if last_only else math.inf
        due = [wait for wait in self._all_waits() if self.starts_at(wait) <= now and wait.deadline <= latest]
        due.sort(key=lambda wait: (wait.deadline > now, wait.next_poll_at))
        return list(dict.fromkeys(wait.export_id for wait in due))

    def _all_waits(self) -> Iterator[Wait]:
        return chain.from_iterable(self._waits.values())

    def _everyone(self) -> Iterator[Wait | Watch]:
        return chain(self._all_waits(), self._watches)

    def _stopped(self, task: asyncio.Task[None]) -> None:
        """Report a bug of the poller to its waits: nothing polls for them any longer."""
        if task.cancelled():
            return
        log.error("The poller of connection %r stopped.", self._client.name, exc_info=task.exception())
        for wait in self._everyone():
            wait.update(
                ERROR,
                f"The poller of connection {self._client.name!r} stopped.\n"
                f"Cause: {type(task.exception()).__name__}.\n"
                f"See the log of the triggerer, and report this error to the maintainers of the provider.",
            )
        self._close()

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        gauge(Metric.POLLER_SIZE, {"conn_id": self._client.name}, 0)
        self._task.cancel()
        self._thread.submit(self._client.close)
        self._thread.shutdown()
        self._on_close()


def _concerns_connection(error: FlowrouteError) -> bool:
    return isinstance(error, FlowrouteAuthenticationError | FlowrouteConnectionConfigError)
