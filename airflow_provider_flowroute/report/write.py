"""Write a report."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from upath import UPath

from airflow_provider_flowroute.cdr.window import Window, midnight, zone_of
from airflow_provider_flowroute.exceptions import FlowrouteValueError
from airflow_provider_flowroute.landing.publish import publish, staging_folder
from airflow_provider_flowroute.report.aggregate import add_up_calls
from airflow_provider_flowroute.report.data import Day, Failure, Figures, Group, ReportData
from airflow_provider_flowroute.report.outliers import find_outliers
from airflow_provider_flowroute.report.previous import read_previous
from airflow_provider_flowroute.report.render import render
from airflow_provider_flowroute.report.source import (
    PathLike,
    as_path,
    day_state,
    files_by_day,
    period_of,
    read_files,
)

#: A day in the report's time zone: a date, its ISO 8601 text, or an instant that is a midnight of the zone.
DayLike = date | datetime | str


def write_report(
    paths: PathLike | Iterable[PathLike],
    output: PathLike,
    start: DayLike | None = None,
    end: DayLike | None = None,
    timezone: str = "UTC",
    previous: PathLike | None = None,
) -> ReportData:
    """Write a report of landed files as one HTML file, atomically.

    :param paths: landed Parquet files: paths, folders, globs, or URLs of ``ObjectStoragePath``.
    :param output: the HTML file: a local path or a URL of ``ObjectStoragePath``.
    :param start: the first day. Default: the first day of the files' windows.
    :param end: the day after the last day. Default: the day after the last day of the files' windows.
    :param timezone: the IANA name of the zone whose days and hours are shown.
    :param previous: an earlier report to compare with.
    :return: the figures of the report.
    :raises FlowrouteValueError: a path, a day, the zone or the earlier report is invalid.
    :raises CdrExportLandingError: the object store does not accept the report.
    """
    before = read_previous(as_path(previous)) if previous is not None else None
    target = as_path(output)
    several = [paths] if isinstance(paths, str | os.PathLike | UPath) else paths
    data = read_report_data(several, start, end, timezone)
    page = render(data, before)
    with staging_folder(target) as folder:
        staged = folder / target.name
        staged.write_text(page, encoding="utf-8")
        publish(staged, target)
    return data


def read_report_data(
    paths: Iterable[PathLike], start: DayLike | None, end: DayLike | None, timezone: str
) -> ReportData:
    """Read the figures of a report from landed files; see :func:`write_report`."""
    zone = zone_of(timezone)
    first, last = (
        _day(value, name, zone) if value is not None else None
        for value, name in ((start, "start"), (end, "end"))
    )
    _check_order(first, last)
    files = read_files(paths)
    covered = period_of(files, zone)
    if covered is None and (first is None or last is None):
        raise FlowrouteValueError(
            "The files do not say which days they hold.\nTheir footers have no window.\n"
            "Give start and end (--from and --to)."
        )
    if covered is not None:
        first, last = first or covered[0], last or covered[1]
    _check_order(first, last)
    assert first is not None
    assert last is not None
    begin, finish = (midnight(day, zone).astimezone(zone) for day in (first, last))
    used = [file for file in files if file.is_in(begin, finish)]
    sums = add_up_calls([file.fragment for file in used], begin, finish)
    by_day: dict[date, dict[str, Figures]] = defaultdict(dict)
    for (day, direction), figures in sums.days.items():
        by_day[day][direction] = figures
    landed = files_by_day(used, zone)
    days = [
        Day(
            day,
            (window.end - window.start) / timedelta(hours=1),
            day_state(window, landed.get(day, ())),
            by_day[day],
        )
        for day, window in Window(begin, finish).days(zone)
    ]
    by_name: dict[tuple[str, str], Figures] = defaultdict(Figures)
    for (_, direction, name), figures in sums.destinations.items():
        by_name[direction, name] += figures
    failures = [Failure(code, reason, calls) for (code, reason), calls in sums.failures.items()]
    return ReportData(
        start=first,
        end=last,
        timezone=timezone,
        created_at=datetime.now(UTC),
        files=len(used),
        days=days,
        fees=sums.fees,
        destinations=_groups(by_name),
        aliases=_groups(sums.aliases),
        hours=dict(sums.hours),
        failures=sorted(failures, key=lambda failure: (-failure.calls, failure.code, failure.reason)),
        outliers=find_outliers(days, sums.destinations),
    )


def _groups(figures: Mapping[tuple[str, str], Figures]) -> list[Group]:
    by_name: dict[str, dict[str, Figures]] = defaultdict(dict)
    for (direction, name), of_direction in figures.items():
        by_name[name][direction] = of_direction
    groups = [Group(name, of_name) for name, of_name in by_name.items()]
    return sorted(groups, key=lambda group: (-group.total.cost, -group.total.calls, group.name))


def _day(value: DayLike, name: str, zone: ZoneInfo) -> date:
    """Return a day of the zone."""
    day: object = value
    if isinstance(day, str):
        try:
            day = datetime.fromisoformat(day.strip())
        except ValueError:
            day = None
    if isinstance(day, datetime):
        local = day.astimezone(zone) if day.tzinfo else day.replace(tzinfo=zone)
        day = local.date() if local == midnight(local.date(), zone) else None
    if not isinstance(day, date):
        raise FlowrouteValueError(
            f"{name} is not a day.\nIt is {value!r}, and the time zone is {zone}.\n"
            f"Give a date such as '2026-07-01', or an instant that is midnight in that zone."
        )
    return day


def _check_order(first: date | None, last: date | None) -> None:
    if first is not None and last is not None and first >= last:
        raise FlowrouteValueError(
            f"The report covers no day: it starts on {first} and ends before {last}.\n"
            f"end is the day after the last day.\nGive an end (--to) that is later than the start (--from)."
        )
