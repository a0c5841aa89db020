"""The account's exports and their life: asked for, processed, done."""

from __future__ import annotations

import copy
import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow_provider_flowroute.simulator import persistence
from airflow_provider_flowroute.simulator.calls import CallHistory
from airflow_provider_flowroute.simulator.exports import Outcome, SimulatedExport
from airflow_provider_flowroute.simulator.filters import wanted
from airflow_provider_flowroute.simulator.result_file import ResultFile, columns_for, write_file

_FIRST_ID = 38647
_FILES_KEPT = 16
_MOST = 1e9


class Account:
    """A Flowroute account; safe to use from any thread.

    :param seed: which call history it has.
    :param calls_per_day: the mean number of calls in a UTC day.
    :param processing_seconds: how long an export is processed; infinity for until it is told to end.
    :param link_seconds: how long a completed export's links work.
    :param state: a file that keeps the exports between runs.
    """

    def __init__(
        self,
        *,
        seed: int = 1,
        calls_per_day: float = 200,
        processing_seconds: float = 0.0,
        link_seconds: float = 259200,
        state: str | Path | None = None,
    ) -> None:
        for name, number in (
            ("calls_per_day", calls_per_day),
            ("processing_seconds", processing_seconds),
            ("link_seconds", link_seconds),
        ):
            most = math.inf if name == "processing_seconds" else _MOST
            if not 0 <= number <= most:
                raise ValueError(f"The simulator's {name} must be a number from 0 to {most:g}, not {number}.")
        self.seed = seed
        self.calls_per_day = calls_per_day
        self.processing_seconds = processing_seconds
        self.link_seconds = link_seconds
        #: How many seconds the account's clock is ahead of this machine's.
        self.clock_ahead = 0.0
        #: Called with each new export, and with each that ended; from whichever thread it happened in.
        self.on_created: Callable[[SimulatedExport], None] | None = None
        self.on_ended: Callable[[SimulatedExport], None] | None = None
        self._exports: dict[str, SimulatedExport] = {}
        self._next_id = _FIRST_ID
        self._lock = threading.RLock()
        # Held while files are written, which takes long, so that _lock is only ever held for a moment.
        self._settling = threading.Lock()
        self._files: OrderedDict[str, ResultFile] = OrderedDict()
        self._state = Path(state) if state is not None else None
        if self._state and self._state.exists():
            self._next_id, self._exports = persistence.load(self._state)

    def now(self) -> datetime:
        """What the account's clock says, UTC."""
        return datetime.now(UTC) + timedelta(seconds=self.clock_ahead)

    def create(
        self,
        start: datetime,
        end: datetime,
        filter_parameters: dict[str, Any],
        callback_url: str | None,
        outcome: Outcome,
    ) -> SimulatedExport:
        """Queue an export.

        :param start: the window's first instant, UTC.
        :param end: the window's end, UTC.
        :param filter_parameters: the filters as sent.
        :param callback_url: whom to tell when it is done.
        :param outcome: how it is to end.
        """
        now = self.now()
        endless = self.processing_seconds > _MOST
        with self._lock:
            export = SimulatedExport(
                id=str(self._next_id),
                status="processing",
                start=start,
                end=end,
                filter_parameters=filter_parameters,
                callback_url=callback_url,
                requested_at=now,
                due=None if endless else now + timedelta(seconds=self.processing_seconds),
                seed=self.seed,
                calls_per_day=self.calls_per_day,
                outcome=outcome,
            )
            self._next_id += 1
            self._exports[export.id] = export
            self.save()
            shown = copy.deepcopy(export)
        if self.on_created:
            self.on_created(shown)
        return shown

    def exports(self) -> list[SimulatedExport]:
        """Give copies of every export as it is now, in order of creation."""
        self.settle()
        with self._lock:
            return copy.deepcopy(list(self._exports.values()))

    def read(self, export_id: str) -> SimulatedExport | None:
        """Look at one export, as the status request does, and count the look.

        :param export_id: its id.
        """
        self.settle()
        with self._lock:
            export = self._exports.get(export_id)
            if export is None:
                return None
            export.reads += 1
            return copy.deepcopy(export)

    def count_download(self, export_id: str) -> None:
        """Note that an export's file is being sent.

        :param export_id: its id.
        """
        with self._lock:
            if export_id in self._exports:
                self._exports[export_id].downloads += 1

    def find_object(self, key: str) -> SimulatedExport | None:
        """Find the completed export whose file lies at a place of the storage.

        :param key: the object's key.
        """
        with self._lock:
            found = (each for each in self._exports.values() if each.totals and each.object_key == key)
            return copy.deepcopy(next(found, None))

    def settle(self) -> None:
        """End every export whose time has come."""
        with self._settling:
            now = self.now()
            with self._lock:
                due = [each for each in self._processing() if each.due is not None and each.due <= now]
            for export in due:
                self._end(export, export.outcome.status, export.due or now)

    def seconds_to_next(self) -> float | None:
        """Tell how long it is until the next export is done; None if nothing is under way."""
        with self._lock:
            instants = [each.due for each in self._processing() if each.due is not None]
        return max(0.0, (min(instants) - self.now()).total_seconds()) if instants else None

    def end_now(self, export_id: str, status: str) -> None:
        """End an export that is being processed.

        :param export_id: its id.
        :param status: the status it ends with.
        """
        with self._settling:
            export = self._known(export_id)
            if export.status != "processing":
                raise ValueError(
                    f"Export {export_id} is {export.status} already: only one in process can be ended."
                )
            self._end(export, status, self.now())

    def file(self, export_id: str) -> ResultFile:
        """Give an export's file.

        :param export_id: the id of a completed export.
        """
        self.settle()
        export = self._known(export_id)
        if export.totals is None:
            raise ValueError(f"Export {export_id} is {export.status}: only a completed export has a file.")
        return self._file(export)

    def reset(self) -> None:
        """Forget every export. Ids go on where they were, so that an old id never names a new export."""
        with self._settling, self._lock:
            self._exports.clear()
            self._files.clear()
            self.save()

    def save(self) -> None:
        """Write the state file, if there is one."""
        if self._state:
            with self._lock:
                persistence.save(self._state, self._next_id, self._exports)

    def _processing(self) -> list[SimulatedExport]:
        return [each for each in self._exports.values() if each.status == "processing"]

    def _known(self, export_id: str) -> SimulatedExport:
        with self._lock:
            if export_id not in self._exports:
                known = ", ".join(self._exports) or "none"
                raise KeyError(f"The account has no export {export_id!r}; it has: {known}.")
            return self._exports[export_id]

    def _end(self, export: SimulatedExport, status: str, when: datetime) -> None:
        file = self._file(export) if status == "completed" else None
        with self._lock:
            export.status = status
            export.completed_at = when
            if file:
                export.totals = file.totals
                export.expires_at = when + timedelta(seconds=self.link_seconds)
            self.save()
            shown = copy.deepcopy(export)
        if self.on_ended:
            self.on_ended(shown)

    def _file(self, export: SimulatedExport) -> ResultFile:
        """Get the file from the few that are kept, or write it again: it comes out the same."""
        with self._lock:
            kept = self._files.get(export.id)
            if kept:
                self._files.move_to_end(export.id)
                return kept
        history = CallHistory(export.seed, export.calls_per_day)
        calls = history.between(export.start, export.end, export.requested_at)
        file = write_file(
            filter(wanted(export.filter_parameters), calls), columns_for(export.start, export.end)
        )
        with self._lock:
            self._files[export.id] = file
            while len(self._files) > _FILES_KEPT:
                self._files.popitem(last=False)
        return file
