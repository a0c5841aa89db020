"""The window of an export: it selects calls by their start time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from airflow_provider_flowroute.exceptions import FlowrouteValueError

#: The longest window of one export, in days (Flowroute's support pages).
MAX_DAYS = 92

WINDOW_START = "start_call_start_time"
WINDOW_END = "start_call_end_time"


def parse_instant(value: object, name: str) -> datetime:
    """Parse a time as people and Airflow's templates write it.

    :param value: a ``datetime``, a ``date`` (its midnight), or ISO 8601 text with a ``T`` or a space and any
        offset. Without a time zone it is UTC, as in Flowroute's documents.
    :param name: name of the value, for the error.
    :return: the time in UTC, rounded down to the second. Flowroute has no smaller unit, and rounding both ends of a
        window in the same way keeps adjacent windows adjacent.
    :raises FlowrouteValueError: ``value`` is not a time. The message has ``name`` and ``value``.
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise FlowrouteValueError(
                f"{name} is not a date and time.\n"
                f"It is {value!r}. If it comes from a template, the template rendered to this text.\n"
                f"Give ISO 8601, such as '2026-11-23 00:00:00' (UTC) or '2026-11-23T00:00:00+01:00'."
            ) from None
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time.min)
    if not isinstance(value, datetime):
        raise FlowrouteValueError(
            f"{name} has the wrong type.\nIt is {value!r} ({type(value).__name__}).\n"
            f"Give a datetime or ISO 8601 text."
        )
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)
    try:
        # A plain datetime, because subclasses such as pendulum's are serialised in other formats.
        return datetime.fromtimestamp(int(aware.timestamp() // 1), tz=UTC)
    except (ValueError, OverflowError):
        raise FlowrouteValueError(
            f"{name} is outside the calendar.\nIt is {str(aware)!r}, which does not exist in UTC.\n"
            f"Give a year from 1 to 9999."
        ) from None


def format_instant(instant: datetime) -> str:
    """Return the only format that Flowroute accepts: ``YYYY-MM-DD HH:MM:SS``, in UTC."""
    return instant.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def zone_of(timezone: str) -> ZoneInfo:
    """Return a time zone.

    :param timezone: its name in the tz database.
    :raises FlowrouteValueError: there is no such zone.
    """
    try:
        return ZoneInfo(timezone)
    except (KeyError, ValueError, TypeError, OSError):  # an unknown name, a path, None, a folder of zones
        raise FlowrouteValueError(
            f"timezone is {timezone!r}.\nThe tz database has no such time zone.\n"
            f"Use a name such as 'UTC' or 'America/New_York'."
        ) from None


@dataclass(frozen=True, slots=True)
class Window:
    """The calls that start at or after ``start`` and before ``end``.

    The window is half-open, so adjacent windows have no gap and no overlap.

    :param start: any value that :func:`parse_instant` accepts.
    :param end: any value that :func:`parse_instant` accepts, later than ``start``.
    :raises FlowrouteValueError: a value is not a time, or the window is empty.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", parse_instant(self.start, WINDOW_START))
        object.__setattr__(self, "end", parse_instant(self.end, WINDOW_END))
        if self.start >= self.end:
            raise FlowrouteValueError(
                f"The window is empty.\n"
                f"It starts at {format_instant(self.start)} and ends at {format_instant(self.end)} UTC. It selects "
                f"calls that start at or after its start and before its end.\n"
                f"Give an end that is later than the start."
            )

    def check_exportable(self, now: datetime) -> None:
        """Raise an error if one export cannot contain all calls of the window.

        :param now: the current time, with a time zone.
        :raises FlowrouteValueError: the window ends after ``now``, or is longer than 92 days.
        """
        if self.end > now:
            raise FlowrouteValueError(
                f"The window {self} ends in the future.\n"
                f"It is {format_instant(now)} UTC. The export would lack the calls that have not started yet.\n"
                f"Give an end that is not later than now."
            )
        if self.end - self.start > timedelta(days=MAX_DAYS):
            raise FlowrouteValueError(
                f"The window {self} is too long.\n"
                f"It covers {self.end - self.start}; one export covers at most {MAX_DAYS} days.\n"
                f"Split it with Window.split(), and create one export for each part."
            )

    def split(self, max_days: int = MAX_DAYS) -> Iterator[Window]:
        """Split the window into contiguous windows of at most ``max_days`` days, oldest first.

        :param max_days: maximum length of a part in days, 1 to 92.
        :raises FlowrouteValueError: ``max_days`` is not 1 to 92.
        """
        if not 1 <= max_days <= MAX_DAYS:
            raise FlowrouteValueError(
                f"max_days is {max_days}.\nAn export covers at most {MAX_DAYS} days.\nGive 1 to {MAX_DAYS}."
            )
        start = self.start
        while start < self.end:
            end = min(start + timedelta(days=max_days), self.end)
            yield Window(start, end)
            start = end

    def days(self, zone: ZoneInfo) -> Iterator[tuple[date, Window]]:
        """Return the days that the window touches, oldest first, each with its own complete window.

        :param zone: the time zone of the days. A day has 23 to 25 hours when clocks change.
        """
        day = self.start.astimezone(zone).date()
        while (start := midnight(day, zone)) < self.end:
            following = day + timedelta(days=1)
            end = midnight(following, zone)
            if start < end:  # Samoa left out a day when it moved to the other side of the date line
                yield day, Window(start, end)
            day = following

    def __str__(self) -> str:
        return f"{format_instant(self.start)} .. {format_instant(self.end)} UTC"


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """Return the first instant of a day, in UTC. Where a clock change skips midnight, that is a later time of day.

    :param day: the day.
    :param zone: the time zone of the day.
    """
    return datetime.combine(day, time.min, zone).astimezone(UTC)
