"""Compare a report with an earlier one, whose figures are in its HTML file as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

from airflow_provider_flowroute.exceptions import FlowrouteValueError
from airflow_provider_flowroute.report.data import JSON_VERSION, Figures, ReportData

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

#: The ID of the element that holds the JSON.
DATA_ID = "flowroute-report-data"
#: Destinations whose change is shown.
_MAX_DESTINATIONS = 10


@dataclass(frozen=True)
class DayChange:
    """A day that both reports have, with other figures or another state.

    :param date: the day.
    :param before: figures in the earlier report.
    :param now: figures in this report.
    :param state_before: state in the earlier report.
    :param state_now: state in this report.
    """

    date: date
    before: Figures
    now: Figures
    state_before: str
    state_now: str


@dataclass(frozen=True)
class Change:
    """Figures in the earlier report and in this report.

    :param name: what they belong to.
    :param before: zero if the earlier report has none.
    :param now: zero if this report has none.
    """

    name: str
    before: Figures
    now: Figures


@dataclass(frozen=True)
class Changes:
    """What changed since an earlier report.

    :param start: its first day.
    :param end: the day after its last day.
    :param timezone: its time zone.
    :param created_at: when it was made, ISO 8601, UTC.
    :param totals: of both reports.
    :param days: in the order of the days; empty if the time zones differ.
    :param destinations: with the largest change of the cost first.
    """

    start: date
    end: date
    timezone: str
    created_at: str
    totals: Change
    days: Sequence[DayChange]
    destinations: Sequence[Change]


class _DataFinder(HTMLParser):
    """Collect the text of the element that holds the JSON."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note whether the element begins."""
        self._inside = tag == "script" and ("id", DATA_ID) in attrs

    def handle_endtag(self, tag: str) -> None:
        """Note that an element ended."""
        self._inside = False

    def handle_data(self, data: str) -> None:
        """Collect text of the element."""
        if self._inside:
            self.text += data


def read_previous(path: ObjectStoragePath) -> Mapping[str, Any]:
    """Return the figures of an earlier report.

    :param path: its HTML file.
    :raises FlowrouteValueError: the file cannot be read, or it is no report of this version.
    """
    finder = _DataFinder()
    try:
        finder.feed(path.read_text(encoding="utf-8"))
        figures = json.loads(finder.text)
        problem = "" if figures["version"] == JSON_VERSION else f"It has version {figures['version']}."
    except (OSError, ValueError, KeyError, TypeError) as e:
        figures, problem = {}, f"{type(e).__name__}: {e}"
    if problem:
        raise FlowrouteValueError(
            f"{path.name} is no earlier report that can be compared.\n"
            f"The file is {path}. {problem}\n"
            f"Give an HTML file that this version wrote, or omit previous (--previous)."
        )
    return figures  # type: ignore[no-any-return]


def compare(data: ReportData, previous: Mapping[str, Any]) -> Changes:
    """Return what changed since an earlier report.

    :param data: this report.
    :param previous: from :func:`read_previous`.
    """
    days = []
    # A day of another zone has other hours, so its calls cannot be compared.
    if previous["timezone"] == data.timezone:
        for day in data.days:
            before = previous["days"].get(day.date.isoformat())
            if before is None:
                continue
            figures = Figures.from_json(before["figures"])
            if (figures, before["state"]) != (day.total, day.state.value):
                days.append(DayChange(day.date, figures, day.total, before["state"], day.state.value))
    then = {name: Figures.from_json(value) for name, value in previous["destinations"].items()}
    now = {group.name: group.total for group in data.destinations}
    changes = [
        Change(name, then.get(name, Figures()), now.get(name, Figures()))
        for name in dict.fromkeys([*now, *then])
        if then.get(name) != now.get(name)
    ]
    changes.sort(key=lambda change: -abs(change.now.cost - change.before.cost))
    return Changes(
        start=date.fromisoformat(previous["start"]),
        end=date.fromisoformat(previous["end"]),
        timezone=previous["timezone"],
        created_at=previous["created_at"],
        totals=Change("all calls", Figures.from_json(previous["totals"]), data.totals),
        days=days,
        destinations=changes[:_MAX_DESTINATIONS],
    )
