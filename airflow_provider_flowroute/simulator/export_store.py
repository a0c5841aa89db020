"""The account's exports and their life cycle: created, processing, ended."""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from airflow_provider_flowroute.simulator.calls import generate_calls
from airflow_provider_flowroute.simulator.exports import SimulatedExport, load_exports, save_exports
from airflow_provider_flowroute.simulator.filters import build_predicate
from airflow_provider_flowroute.simulator.result_file import ResultFile, columns_for, write_file
from airflow_provider_flowroute.simulator.validation import ExportRequest

_FIRST_ID = 38647
_MAX_SETTING = 1e9


@dataclass
class ExportStore:
    """The exports of an account, and the account's clock. Safe to use from any thread."""

    seed: int
    calls_per_day: float
    processing_seconds: float
    link_seconds: float
    state_file: Path | None
    #: Called with each ended export, in the thread that ended it.
    on_ended: Callable[[SimulatedExport], None]
    #: How many seconds the account's clock is ahead of this machine's.
    clock_ahead: float = 0.0

    def __post_init__(self) -> None:
        for name in ("calls_per_day", "processing_seconds", "link_seconds"):
            number = getattr(self, name)
            maximum = math.inf if name == "processing_seconds" else _MAX_SETTING
            if not 0 <= number <= maximum:
                raise ValueError(
                    f"The simulator's {name} must be a number from 0 to {maximum:g}, not {number}."
                )
        self._exports: dict[str, SimulatedExport] = {}
        self._next_id = _FIRST_ID
        self._lock = threading.RLock()
        # Writing a file is slow. This lock covers it, so that _lock is only held briefly.
        self._ending = threading.Lock()
        self._cached_file = lru_cache(maxsize=16)(self._write_file)
        if self.state_file and self.state_file.exists():
            self._next_id, self._exports = load_exports(self.state_file)

    def now(self) -> datetime:
        """Return the time of the account's clock, UTC."""
        return datetime.now(UTC) + timedelta(seconds=self.clock_ahead)

    def create(self, request: ExportRequest, changes: Mapping[str, Any]) -> SimulatedExport:
        """Create an export with the changes that faults require, and return a copy of it."""
        now = self.now()
        endless = self.processing_seconds > _MAX_SETTING
        with self._lock:
            export = SimulatedExport(
                id=str(self._next_id),
                status="processing",
                requested_at=now,
                due=None if endless else now + timedelta(seconds=self.processing_seconds),
                seed=self.seed,
                calls_per_day=self.calls_per_day,
                **vars(request),
                **changes,
            )
            self._next_id += 1
            self._exports[export.id] = export
            self.save()
            return copy.deepcopy(export)

    def all(self) -> list[SimulatedExport]:
        """Return copies of all exports in their current state, in order of creation."""
        self.end_due()
        with self._lock:
            return copy.deepcopy(list(self._exports.values()))

    def read(self, export_id: str) -> SimulatedExport | None:
        """Return a copy of an export as the status request does, and count the request."""
        self.end_due()
        with self._lock:
            export = self._exports.get(export_id)
            if export is None:
                return None
            export.reads += 1
            return copy.deepcopy(export)

    def count_download(self, export_id: str) -> None:
        """Count a download of an export's file."""
        with self._lock:
            if export_id in self._exports:
                self._exports[export_id].downloads += 1

    def find_object(self, key: str) -> SimulatedExport | None:
        """Find the completed export whose file has a key in the storage."""
        with self._lock:
            exports = self._exports.values()
            found = (export for export in exports if export.totals and export.object_key == key)
            return copy.deepcopy(next(found, None))

    def end_due(self) -> None:
        """End every export whose processing time is over."""
        with self._ending:
            now = self.now()
            for due, export in self._scheduled():
                if due <= now:
                    self._end(export, export.final_status, due)

    def seconds_to_next(self) -> float | None:
        """Return the seconds until the next export ends; None if no export ends by itself."""
        next_due = min((due for due, _ in self._scheduled()), default=None)
        return (next_due - self.now()).total_seconds() if next_due else None

    def end_now(self, export_id: str, status: str) -> None:
        """End a processing export with a status."""
        with self._ending:
            export = self._get(export_id)
            if export.status != "processing":
                raise ValueError(
                    f"Export {export_id} is {export.status}: only a processing export can be ended."
                )
            self._end(export, status, self.now())

    def file(self, export_id: str) -> ResultFile:
        """Return the file of a completed export."""
        self.end_due()
        export = self._get(export_id)
        if export.totals is None:
            raise ValueError(f"Export {export_id} is {export.status}: only a completed export has a file.")
        return self._cached_file(export_id)

    def reset(self) -> None:
        """Delete every export. IDs continue, so that an old ID never names a new export."""
        with self._ending, self._lock:
            self._exports.clear()
            self._cached_file.cache_clear()
            self.save()

    def save(self) -> None:
        """Write the state file, if there is one."""
        if self.state_file:
            with self._lock:
                save_exports(self.state_file, self._next_id, self._exports)

    def _scheduled(self) -> list[tuple[datetime, SimulatedExport]]:
        """Return the processing exports that end by themselves, with the time of their end."""
        with self._lock:
            processing = (export for export in self._exports.values() if export.status == "processing")
            return [(export.due, export) for export in processing if export.due]

    def _get(self, export_id: str) -> SimulatedExport:
        with self._lock:
            if export_id not in self._exports:
                known = ", ".join(self._exports) or "none"
                raise KeyError(f"The account has no export {export_id!r}.\nIts exports: {known}.")
            return self._exports[export_id]

    def _end(self, export: SimulatedExport, status: str, when: datetime) -> None:
        file = self._cached_file(export.id) if status == "completed" else None
        with self._lock:
            export.status = status
            export.completed_at = when
            if file:
                export.totals = file.totals
                export.expires_at = when + timedelta(seconds=self.link_seconds)
            self.save()
            ended = copy.deepcopy(export)
        self.on_ended(ended)

    def _write_file(self, export_id: str) -> ResultFile:
        """Write the file of an export. It has the same bytes each time."""
        export = self._get(export_id)
        calls = generate_calls(
            export.seed, export.calls_per_day, export.start, export.end, export.requested_at
        )
        selected = filter(build_predicate(export.filter_parameters), calls)
        return write_file(selected, columns_for(export.start, export.end))
