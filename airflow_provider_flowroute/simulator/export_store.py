"""The account's exports and their life cycle: created, processing, ended."""

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
from airflow_provider_flowroute.simulator.calls import generate_calls
from airflow_provider_flowroute.simulator.exports import Outcome, SimulatedExport
from airflow_provider_flowroute.simulator.filters import build_predicate
from airflow_provider_flowroute.simulator.result_file import ResultFile, columns_for, write_file

_FIRST_ID = 38647
_MAX_CACHED_FILES = 16
_MAX_SETTING = 1e9


class ExportStore:
    """The exports of an account, and the account's clock. Safe to use from any thread.

    :param seed: selects the call history.
    :param calls_per_day: the mean number of calls in a UTC day.
    :param processing_seconds: how long an export stays ``processing``; infinity: until :meth:`end_now`.
    :param link_seconds: how long the links of a completed export are valid.
    :param state: a file that keeps the exports between runs.
    :raises ValueError: if a number is out of range, or the file cannot be read.
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
            maximum = math.inf if name == "processing_seconds" else _MAX_SETTING
            if not 0 <= number <= maximum:
                raise ValueError(
                    f"The simulator's {name} must be a number from 0 to {maximum:g}, not {number}."
                )
        self.seed = seed
        self.calls_per_day = calls_per_day
        self.processing_seconds = processing_seconds
        self.link_seconds = link_seconds
        #: How many seconds the account's clock is ahead of this machine's.
        self.clock_ahead = 0.0
        #: Called with each new export and each ended export, in the thread that created or ended it.
        self.on_created: Callable[[SimulatedExport], None] | None = None
        self.on_ended: Callable[[SimulatedExport], None] | None = None
        self._exports: dict[str, SimulatedExport] = {}
        self._next_id = _FIRST_ID
        self._lock = threading.RLock()
        # Writing a file is slow. This lock covers it, so that _lock is only held briefly.
        self._ending = threading.Lock()
        self._files: OrderedDict[str, ResultFile] = OrderedDict()
        self._state = Path(state) if state is not None else None
        if self._state and self._state.exists():
            self._next_id, self._exports = persistence.load(self._state)

    def now(self) -> datetime:
        """Return the time of the account's clock, UTC."""
        return datetime.now(UTC) + timedelta(seconds=self.clock_ahead)

    def create(
        self,
        start: datetime,
        end: datetime,
        filter_parameters: dict[str, Any],
        callback_url: str | None,
        outcome: Outcome,
    ) -> SimulatedExport:
        """Create an export and return a copy of it.

        :param start: the start of the window, UTC.
        :param end: the end of the window, UTC.
        :param filter_parameters: the filters as sent.
        :param callback_url: where to send the callback.
        :param outcome: how the export ends.
        """
        now = self.now()
        endless = self.processing_seconds > _MAX_SETTING
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
            created = copy.deepcopy(export)
        if self.on_created:
            self.on_created(created)
        return created

    def all(self) -> list[SimulatedExport]:
        """Return copies of all exports in their current state, in order of creation."""
        self.end_due()
        with self._lock:
            return copy.deepcopy(list(self._exports.values()))

    def read(self, export_id: str) -> SimulatedExport | None:
        """Return a copy of an export as the status request does, and count the request.

        :param export_id: the ID of the export.
        """
        self.end_due()
        with self._lock:
            export = self._exports.get(export_id)
            if export is None:
                return None
            export.reads += 1
            return copy.deepcopy(export)

    def count_download(self, export_id: str) -> None:
        """Count a download of an export's file.

        :param export_id: the ID of the export.
        """
        with self._lock:
            if export_id in self._exports:
                self._exports[export_id].downloads += 1

    def find_object(self, key: str) -> SimulatedExport | None:
        """Find the completed export whose file has a key in the storage.

        :param key: the object's key.
        """
        with self._lock:
            exports = self._exports.values()
            found = (export for export in exports if export.totals and export.object_key == key)
            return copy.deepcopy(next(found, None))

    def end_due(self) -> None:
        """End every export whose processing time is over."""
        with self._ending:
            now = self.now()
            with self._lock:
                due = [
                    (export, export.due) for export in self._processing() if export.due and export.due <= now
                ]
            for export, instant in due:
                self._end(export, export.outcome.status, instant)

    def seconds_to_next(self) -> float | None:
        """Return the seconds until the next export ends; None if no export ends by itself."""
        with self._lock:
            instants = [export.due for export in self._processing() if export.due]
        return max(0.0, (min(instants) - self.now()).total_seconds()) if instants else None

    def end_now(self, export_id: str, status: str) -> None:
        """End an export that is processing.

        :param export_id: the ID of the export.
        :param status: the status it ends with.
        :raises KeyError: if the account has no such export.
        :raises ValueError: if the export has ended.
        """
        with self._ending:
            export = self._get(export_id)
            if export.status != "processing":
                raise ValueError(
                    f"Export {export_id} is {export.status}: only a processing export can be ended."
                )
            self._end(export, status, self.now())

    def file(self, export_id: str) -> ResultFile:
        """Return the file of an export.

        :param export_id: the ID of a completed export.
        :raises KeyError: if the account has no such export.
        :raises ValueError: if the export is not completed.
        """
        self.end_due()
        export = self._get(export_id)
        if export.totals is None:
            raise ValueError(f"Export {export_id} is {export.status}: only a completed export has a file.")
        return self._file(export)

    def reset(self) -> None:
        """Delete every export. IDs continue, so that an old ID never names a new export."""
        with self._ending, self._lock:
            self._exports.clear()
            self._files.clear()
            self.save()

    def save(self) -> None:
        """Write the state file, if there is one."""
        if self._state:
            with self._lock:
                persistence.save(self._state, self._next_id, self._exports)

    def _processing(self) -> list[SimulatedExport]:
        return [export for export in self._exports.values() if export.status == "processing"]

    def _get(self, export_id: str) -> SimulatedExport:
        with self._lock:
            if export_id not in self._exports:
                known = ", ".join(self._exports) or "none"
                raise KeyError(f"The account has no export {export_id!r}.\nIts exports: {known}.")
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
            ended = copy.deepcopy(export)
        if self.on_ended:
            self.on_ended(ended)

    def _file(self, export: SimulatedExport) -> ResultFile:
        """Return the file from the cache, or write it again with the same bytes."""
        with self._lock:
            if file := self._files.get(export.id):
                self._files.move_to_end(export.id)
                return file
        calls = generate_calls(
            export.seed, export.calls_per_day, export.start, export.end, export.requested_at
        )
        selected = filter(build_predicate(export.filter_parameters), calls)
        file = write_file(selected, columns_for(export.start, export.end))
        with self._lock:
            self._files[export.id] = file
            while len(self._files) > _MAX_CACHED_FILES:
                self._files.popitem(last=False)
        return file
