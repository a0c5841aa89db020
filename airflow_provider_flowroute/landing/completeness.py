"""Check that landed files hold every call of a period exactly once, from their footers alone."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from airflow_provider_flowroute.cdr.window import Window
from airflow_provider_flowroute.landing.footer import read_footer
from airflow_provider_flowroute.landing.reconciliation import Check, Totals, same_cost

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    from airflow_provider_flowroute.cdr.export import CdrExport

log = logging.getLogger(__name__)

#: Footers that are read at the same time.
THREADS = 16
#: Days that a message names.
MAX_NAMED = 20
#: Stands for the day in a path, as in the day layout of a landing.
DATE = "{date}"


@dataclass(frozen=True)
class Landed:
    """A landed part of a period: a file, or a commit to a table.

    :param name: the path of the file.
    :param window: the window of its calls.
    :param totals: the totals of its calls.
    :param reconciled: whether no check of its export failed.
    """

    name: str
    window: Window
    totals: Totals
    reconciled: bool


def days_of(period: Window, zone: ZoneInfo) -> Iterator[tuple[date, Window]]:
    """Iterate over the local days of a period, each with its window.

    :param period: the period. Its first and last day may be a part of a day.
    :param zone: the time zone of the days.
    """
    day = period.start.astimezone(zone).date()
    while (start := datetime.combine(day, time.min, zone)) < period.end:
        end = datetime.combine(day + timedelta(days=1), time.min, zone)
        yield day, Window(start, end)
        day += timedelta(days=1)


def find_files(path: ObjectStoragePath, period: Window, zone: ZoneInfo) -> list[ObjectStoragePath]:
    """Return the files that may hold the calls of a period.

    :param path: a path with :data:`DATE`, which stands for each day of the period, or a glob, or one file.
    :param period: the period.
    :param zone: the time zone of the days.
    """
    if DATE in path.path:
        names = [path.path.replace(DATE, day.isoformat()) for day, _ in days_of(period, zone)]
    else:
        path.fs.invalidate_cache()  # another process may have landed files
        names = sorted(path.fs.glob(path.path))
    prefix = str(path).removesuffix(path.path)  # the scheme and the connection
    return [type(path)(prefix + name) for name in names]


def read_landed(paths: Sequence[ObjectStoragePath]) -> list[Landed]:
    """Read the footers of files in parallel.

    :param paths: the files. One that does not exist, or whose footer has no window, is left out.
    :raises CdrExportLandingError: a file cannot be read.
    """
    with ThreadPoolExecutor(THREADS, thread_name_prefix="flowroute-footers") as threads:
        footers = list(threads.map(read_footer, paths))
    found = []
    for path, footer in zip(paths, footers, strict=True):
        if footer is not None and footer.window is not None:
            found.append(Landed(str(path), footer.window, footer.totals, footer.reconciled))
        elif footer is not None or path.exists():
            log.warning("Ignoring %s: its footer has no window, so it is not a file of a landing.", path)
    return found


class Completeness:
    """What the landed parts of a period add up to, and what the period lacks.

    :param landed: the landed parts. Those outside the period are left out.
    :param period: the period.
    :param zone: the time zone in which days are named.
    """

    def __init__(self, landed: Iterable[Landed], period: Window, zone: ZoneInfo) -> None:
        self.period = period
        self.zone = zone
        parts = [part for part in landed if part.window.start < period.end and period.start < part.window.end]
        self.landed = sorted(parts, key=lambda part: (part.window.start, part.window.end))
        #: The windows without a landed part, and those with more than one.
        self.missing: list[Window] = []
        self.doubled: list[Window] = []
        covered_to = period.start
        for part in self.landed:
            start = max(part.window.start, period.start)
            end = min(part.window.end, period.end)
            if covered_to < start:
                self.missing.append(Window(covered_to, start))
            elif start < covered_to:
                self.doubled.append(Window(start, min(end, covered_to)))
            covered_to = max(covered_to, end)
        if covered_to < period.end:
            self.missing.append(Window(covered_to, period.end))
        self.checks: list[Check] = []

    @property
    def totals(self) -> Totals:
        """The totals of all landed parts."""
        return reduce(add, (part.totals for part in self.landed), Totals())

    def compare(self, export: CdrExport) -> None:
        """Compare the totals with those of an export of the same period.

        :param export: a completed export.
        """
        totals = self.totals
        seconds = totals.billed_seconds
        minutes = None if seconds is None else Decimal(seconds) / 60
        self.checks = [
            _check("calls", totals.rows, export.num_calls),
            _check("total_cost", totals.total_cost, export.total_cost),
            _check("billed_minutes", minutes, export.billed_minutes),
            *(_check(name, totals.fees.get(name), amount) for name, amount in export.fees.items()),
        ]

    def problems(self) -> list[str]:
        """Return what is wrong, one line each; an empty list if every call of the period was landed once."""
        beyond = [
            part
            for part in self.landed
            if part.window.start < self.period.start or part.window.end > self.period.end
        ]
        unreconciled = [part.window for part in self.landed if not part.reconciled]
        found = {
            "Missing": self._names(self.missing),
            "Doubled": self._names(self.doubled),
            "Not reconciled": self._names(unreconciled),
            "Beyond the period": [f"{part.name} ({part.window})" for part in beyond],
            "Different from Flowroute's totals": [
                f"{check.name} {_plain(check.actual)} instead of {_plain(check.expected)}"
                for check in self.checks
                if check.passed is False
            ],
        }
        return [f"{what}: {_first(names)}." for what, names in found.items() if names]

    def as_json(self) -> dict[str, Any]:
        """Return the figures per day and in all, as JSON. A part that is longer than a day has one entry."""
        days: dict[str, Totals] = {}
        for part in self.landed:
            name = " .. ".join(dict.fromkeys(self._days(part.window)))
            days[name] = days[name] + part.totals if name in days else part.totals
        return {
            "start": self.period.start.astimezone(self.zone).isoformat(),
            "end": self.period.end.astimezone(self.zone).isoformat(),
            "timezone": self.zone.key,
            "days": {name: _figures(totals) for name, totals in days.items()},
            "total": _figures(self.totals),
            "checks": {check.name: check.as_json() for check in self.checks},
        }

    def _days(self, window: Window) -> tuple[str, str]:
        """Return the first and the last local day of a window."""
        last = window.end.astimezone(self.zone) - timedelta(seconds=1)
        return window.start.astimezone(self.zone).date().isoformat(), last.date().isoformat()

    def _names(self, windows: Iterable[Window]) -> list[str]:
        """Return the local days of windows; a part of a day has its times."""
        names = []
        for window in windows:
            for day, whole in days_of(window, self.zone):
                start, end = max(whole.start, window.start), min(whole.end, window.end)
                times = "" if (start, end) == (whole.start, whole.end) else f" ({self._times(start, end)})"
                names.append(f"{day.isoformat()}{times}")
        return list(dict.fromkeys(names))

    def _times(self, start: datetime, end: datetime) -> str:
        first, last = start.astimezone(self.zone), end.astimezone(self.zone)
        return f"{first:%H:%M:%S} to {'24:00:00' if last.date() > first.date() else f'{last:%H:%M:%S}'}"


def _check(name: str, actual: int | Decimal | None, expected: int | Decimal | None) -> Check:
    if actual is None or expected is None:
        reason = "Flowroute did not report it" if expected is None else "the files do not have it"
        return Check(name, actual, expected, None, reason)
    if isinstance(actual, int):
        return Check(name, actual, expected, actual == expected)
    return Check(name, actual, expected, same_cost(actual, Decimal(expected)))


def _plain(value: Any) -> str:
    return f"{value:.8f}".rstrip("0").rstrip(".") if isinstance(value, Decimal) else str(value)


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more


def _figures(totals: Totals) -> dict[str, Any]:
    values: Mapping[str, Any] = totals.as_json()
    return {name: values[name] for name in ("rows", "total_cost", "billed_minutes", "fees")}
