"""The figures of a report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from enum import Enum
from typing import Any

#: The version of the JSON in a report. A report of another version cannot be compared.
JSON_VERSION = 1
#: Directions in the order of the pictures.
DIRECTIONS = ("outbound", "inbound")


@dataclass(frozen=True)
class Figures:
    """The sums of some calls. Two of them can be added.

    :param calls: the number of calls.
    :param cost: the exact sum of ``total_cost``, US dollars.
    :param billed_seconds: the sum of ``billed_duration``.
    """

    calls: int = 0
    cost: Decimal = Decimal(0)
    billed_seconds: int = 0

    def __add__(self, other: Figures) -> Figures:
        return Figures(
            self.calls + other.calls, self.cost + other.cost, self.billed_seconds + other.billed_seconds
        )

    @property
    def billed_minutes(self) -> Decimal:
        """Minutes with two decimals."""
        return (Decimal(self.billed_seconds) / 60).quantize(Decimal("0.01"), ROUND_HALF_UP)

    def as_json(self) -> list[Any]:
        """Return calls, cost as text, and billed seconds."""
        return [self.calls, f"{self.cost:f}", self.billed_seconds]

    @classmethod
    def from_json(cls, value: Sequence[Any]) -> Figures:
        """Return the figures of :meth:`as_json`."""
        calls, cost, billed_seconds = value
        return cls(int(calls), Decimal(cost), int(billed_seconds))


def add_up(figures: Iterable[Figures]) -> Figures:
    """Return the sum of figures."""
    return sum(figures, Figures())


class DayState(Enum):
    """What the footers of the landed files say about a day."""

    COMPLETE = "complete"
    UNCHECKED = "not reconciled"
    MISMATCH = "mismatch"
    OVERLAP = "overlap"
    PARTIAL = "partly landed"
    MISSING = "missing"


@dataclass(frozen=True)
class Day:
    """One day of the period, in the report's time zone.

    :param date: the day.
    :param hours: its length in hours: 23 or 25 when the clocks change.
    :param state: from the footers.
    :param figures: by direction.
    """

    date: date
    hours: float
    state: DayState
    figures: Mapping[str, Figures] = field(default_factory=dict)

    @property
    def total(self) -> Figures:
        """All directions."""
        return add_up(self.figures.values())

    @property
    def has_all_calls(self) -> bool:
        """Whether the whole day is in the files, each call once."""
        return self.state in (DayState.COMPLETE, DayState.UNCHECKED, DayState.MISMATCH)


@dataclass(frozen=True)
class Group:
    """The calls with one destination or one alias.

    :param name: as in the files; empty if they have none.
    :param figures: by direction.
    """

    name: str
    figures: Mapping[str, Figures]

    @property
    def total(self) -> Figures:
        """All directions."""
        return add_up(self.figures.values())


@dataclass(frozen=True)
class Failure:
    """The failed calls with one SIP code.

    :param code: the SIP code; empty if the files have none.
    :param reason: the SIP reason phrase.
    :param calls: the number of calls.
    """

    code: str
    reason: str
    calls: int


@dataclass(frozen=True)
class Outlier:
    """A day that stands out.

    :param date: the day.
    :param destination: calls to this destination stand out; None if the cost of the day does.
    :param value: US dollars, or calls.
    :param expected: the median that it is compared with, in the same unit.
    :param score: the robust z-score.
    :param cost: US dollars of the day, or of the calls to the destination.
    """

    date: date
    destination: str | None
    value: Decimal
    expected: Decimal
    score: float
    cost: Decimal


@dataclass(frozen=True)
class ReportData:
    """The figures of a report.

    :param start: the first day.
    :param end: the day after the last day.
    :param timezone: the IANA name of the zone whose days are shown.
    :param created_at: when the report was made, UTC.
    :param files: number of files with calls of the period.
    :param days: each day of the period.
    :param fees: US dollars by column of the files.
    :param destinations: most expensive first.
    :param aliases: most expensive first.
    :param hours: by weekday (0 is Monday) and hour of the local time.
    :param failures: most frequent first.
    :param outliers: highest score first.
    """

    start: date
    end: date
    timezone: str
    created_at: datetime
    files: int = 0
    days: Sequence[Day] = ()
    fees: Mapping[str, Decimal] = field(default_factory=dict)
    destinations: Sequence[Group] = ()
    aliases: Sequence[Group] = ()
    hours: Mapping[tuple[int, int], Figures] = field(default_factory=dict)
    failures: Sequence[Failure] = ()
    outliers: Sequence[Outlier] = ()

    @property
    def totals(self) -> Figures:
        """All calls of the period."""
        return add_up(day.total for day in self.days)

    @property
    def directions(self) -> Mapping[str, Figures]:
        """The totals by direction: outbound, inbound, then any other."""
        names = {name for day in self.days for name in day.figures}
        ordered = [*DIRECTIONS, *sorted(names.difference(DIRECTIONS))]
        return {name: add_up(day.figures.get(name, Figures()) for day in self.days) for name in ordered}

    @property
    def incomplete_days(self) -> list[date]:
        """The days that are not landed and reconciled."""
        return [day.date for day in self.days if day.state is not DayState.COMPLETE]

    def as_json(self) -> dict[str, Any]:
        """Return the figures that the next report compares, as JSON. Amounts are text to stay exact."""
        return {
            "version": JSON_VERSION,
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            "timezone": self.timezone,
            "created_at": self.created_at.isoformat(timespec="seconds"),
            "totals": self.totals.as_json(),
            "fees": {name: f"{fee:f}" for name, fee in self.fees.items()},
            "days": {
                day.date.isoformat(): {"state": day.state.value, "figures": day.total.as_json()}
                for day in self.days
            },
            "destinations": {group.name: group.total.as_json() for group in self.destinations},
        }
