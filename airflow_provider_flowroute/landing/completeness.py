"""Check that landed files hold every call of a period exactly once, from their footers alone."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from airflow_provider_flowroute.cdr.window import Window
from airflow_provider_flowroute.landing.footer import parse_metadata, read_footer
from airflow_provider_flowroute.landing.publish import DATE, in_parallel, path_of
from airflow_provider_flowroute.landing.reconciliation import Totals, differing_figures

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath
    from pyiceberg.catalog import Catalog

    from airflow_provider_flowroute.cdr.export import CdrExport

log = logging.getLogger(__name__)

#: Days that a message names.
MAX_NAMED = 20


@dataclass(frozen=True)
class Landed:
    """A landed part of a period: a file, or a commit to a table.

    :param name: the path of the file, or the snapshot.
    :param window: the window of its calls.
    :param totals: the totals of its calls.
    :param reconciled: whether no check of its export failed.
    """

    name: str
    window: Window
    totals: Totals
    reconciled: bool


def find_files(path: ObjectStoragePath, period: Window, zone: ZoneInfo) -> list[ObjectStoragePath]:
    """Return the files that may hold the calls of a period.

    :param path: a path with :data:`DATE`, which stands for each day of the period, or a glob, or one file.
    :param period: the period.
    :param zone: the time zone of the days.
    """
    if DATE in path.path:
        return [path_of(path, day) for day, _ in period.days(zone)]
    path.fs.invalidate_cache()  # another process may have landed files
    prefix = str(path).removesuffix(path.path)  # the scheme and the connection
    return [type(path)(prefix + name) for name in sorted(path.fs.glob(path.path))]


def read_landed(paths: Sequence[ObjectStoragePath]) -> list[Landed]:
    """Read the footers of files in parallel.

    :param paths: the files. One that does not exist, or whose footer has no window, is left out.
    :raises CdrExportLandingError: a file cannot be read.
    """
    footers = in_parallel(paths[0], read_footer, paths) if paths else []
    found = []
    for path, footer in zip(paths, footers, strict=True):
        if footer is None or footer.window is None:
            log.warning("Ignoring %s: there is no such file, or a landing did not write it.", path)
        else:
            found.append(Landed(str(path), footer.window, footer.totals, footer.reconciled))
    return found


def read_table(catalog: Catalog, identifier: str, period: Window) -> tuple[list[Landed], int]:
    """Read the properties of a table's snapshots.

    :param catalog: the catalog of the table.
    :param identifier: ``namespace.name`` of the table.
    :param period: the period.
    :return: the landings that no newer one has replaced, also not in part, and the calls of the period in the table.
    :raises CdrExportLandingError: the table's metadata cannot be read.
    """
    from pyiceberg.table.snapshots import ancestors_of

    from airflow_provider_flowroute.landing.iceberg import catalog_errors, rows_of

    found: list[Landed] = []
    with catalog_errors(f"Table {identifier} cannot be read."):
        table = catalog.load_table(identifier)
        for snapshot in ancestors_of(table.current_snapshot(), table.metadata):
            properties = snapshot.summary.additional_properties if snapshot.summary is not None else {}
            footer = parse_metadata(properties)
            window = footer.window if footer is not None else None
            if footer is None or window is None or not _overlap(window, period):
                continue
            if not any(_overlap(window, part.window) for part in found):
                name = f"snapshot {snapshot.snapshot_id}"
                found.append(Landed(name, window, footer.totals, footer.reconciled))
        files = [task.file for task in table.scan(rows_of(period)).plan_files()]
    return found, sum(file.record_count for file in files)


def _overlap(one: Window, other: Window) -> bool:
    return one.start < other.end and other.start < one.end


class Completeness:
    """What the landed parts of a period add up to, and what the period lacks.

    :param landed: the landed parts. Those outside the period are left out.
    :param period: the period.
    :param zone: the time zone in which days are named.
    :param rows: the calls that a table has in the period; None for files, which nothing changes after their landing.
    """

    def __init__(
        self, landed: Iterable[Landed], period: Window, zone: ZoneInfo, rows: int | None = None
    ) -> None:
        self.period = period
        self.zone = zone
        self.rows = rows
        parts = [part for part in landed if _overlap(part.window, period)]
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
        #: The figures that differ from Flowroute's totals, each with the landed and the reported value.
        self.different: dict[str, tuple[Any, Any]] = {}

    @property
    def totals(self) -> Totals:
        """The totals of all landed parts."""
        return reduce(add, (part.totals for part in self.landed), Totals())

    def compare(self, export: CdrExport) -> None:
        """Compare the totals with those of an export of the same period.

        :param export: a completed export.
        """
        totals = self.totals
        self.different = differing_figures(export, totals)
        unknown = [name for name in export.fees if totals.fees.get(name) is None]
        if unknown or totals.billed_seconds is None:
            log.warning("Some landed files do not have all figures, so some are not compared: %s.", unknown)

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
                f"{name} {_plain(landed)} instead of {_plain(reported)}"
                for name, (landed, reported) in self.different.items()
            ],
        }
        rows = self.totals.rows
        if self.rows not in (None, rows):
            found["Changed after the landing"] = [f"{self.rows} calls in the table, {rows} in its landings"]
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
        }

    def _days(self, window: Window) -> tuple[str, str]:
        """Return the first and the last local day of a window."""
        last = window.end.astimezone(self.zone) - timedelta(seconds=1)
        return window.start.astimezone(self.zone).date().isoformat(), last.date().isoformat()

    def _names(self, windows: Iterable[Window]) -> list[str]:
        """Return the local days of windows; a part of a day has its times."""
        names = []
        for window in windows:
            for day, whole in window.days(self.zone):
                start, end = max(whole.start, window.start), min(whole.end, window.end)
                times = "" if (start, end) == (whole.start, whole.end) else f" ({self._times(start, end)})"
                names.append(f"{day.isoformat()}{times}")
        return list(dict.fromkeys(names))

    def _times(self, start: datetime, end: datetime) -> str:
        first, last = start.astimezone(self.zone), end.astimezone(self.zone)
        return f"{first:%H:%M:%S} to {'24:00:00' if last.date() > first.date() else f'{last:%H:%M:%S}'}"


def _plain(value: Any) -> str:
    return f"{value:.8f}".rstrip("0").rstrip(".") if isinstance(value, Decimal) else str(value)


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more


def _figures(totals: Totals) -> dict[str, Any]:
    values: Mapping[str, Any] = totals.as_json()
    return {name: values[name] for name in ("rows", "total_cost", "billed_minutes", "fees")}
