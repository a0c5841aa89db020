"""The window of an export: which calls it holds, by when they began."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from airflow_provider_flowroute.exceptions import FlowrouteValueError

#: The longest window of one export, in days (Flowroute's support pages).
MAX_DAYS = 92

WINDOW_START = "start_call_start_time"
WINDOW_END = "start_call_end_time"


def parse_instant(value: object, name: str) -> datetime:
    """Read a point in time as people and Airflow's templates write it.

    :param value: a ``datetime``, a ``date`` (its midnight), or ISO 8601 text with a ``T`` or a space and any
        offset. Naive means UTC, as in Flowroute's documents.
    :param name: what the value is called, for the error.
    :return: aware, in UTC, floored to the whole second: Flowroute knows no smaller unit, and flooring both
        ends of a window alike keeps adjacent windows adjacent.
    :raises FlowrouteValueError: naming ``name`` and ``value``.
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise FlowrouteValueError(
                f"{name} is {value!r}: not a date and time. Give ISO 8601, such as '2026-11-23 00:00:00' (UTC) or "
                f"'2026-11-23T00:00:00+01:00'; if it comes from a template, that template rendered to this."
            ) from None
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time.min)
    if not isinstance(value, datetime):
        raise FlowrouteValueError(
            f"{name} is {value!r} ({type(value).__name__}): give a datetime or ISO 8601 text."
        )
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)
    try:
        # A plain datetime: pendulum's and other subclasses compare equal but serialise in forms of their own.
        return datetime.fromtimestamp(int(aware.timestamp() // 1), tz=UTC)
    except (ValueError, OverflowError):
        raise FlowrouteValueError(f"{name} is {str(aware)!r}: no calendar has that instant in UTC.") from None


def format_instant(instant: datetime) -> str:
    """The one form Flowroute accepts: ``YYYY-MM-DD HH:MM:SS``, in UTC."""
    return instant.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


@dataclass(frozen=True, slots=True)
class Window:
    """Calls that began at or after ``start`` and before ``end``.

    Half-open, so adjacent windows tile: no call is lost between them and none is counted twice.

    :param start: anything :func:`parse_instant` reads.
    :param end: likewise; must lie after ``start``.
    :raises FlowrouteValueError: for an end that cannot be read, or an empty window.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", parse_instant(self.start, WINDOW_START))
        object.__setattr__(self, "end", parse_instant(self.end, WINDOW_END))
        if self.start >= self.end:
            raise FlowrouteValueError(
                f"The window is empty: it starts at {format_instant(self.start)} and ends at "
                f"{format_instant(self.end)} UTC. A window holds the calls that began at or after its start and "
                f"before its end, so the end must be later."
            )

    def check_exportable(self, now: datetime) -> None:
        """Refuse what one export cannot hold, or what would hold only a part.

        :param now: the present, aware.
        :raises FlowrouteValueError: if the window ends after ``now`` or is longer than 92 days.
        """
        if self.end > now:
            raise FlowrouteValueError(
                f"The window {self} ends in the future (it is {format_instant(now)} UTC): calls that have not "
                f"begun yet would be missing from the export. End it now or earlier."
            )
        if self.end - self.start > timedelta(days=MAX_DAYS):
            raise FlowrouteValueError(
                f"The window {self} is {self.end - self.start} long; one export holds at most {MAX_DAYS} "
                f"days. Split it: Window.split() gives windows that tile, one export each."
            )

    def split(self, max_days: int = MAX_DAYS) -> Iterator[Window]:
        """Cut the window into adjacent ones of at most ``max_days`` days, oldest first.

        :param max_days: days a piece may hold, 1 to 92.
        """
        if not 1 <= max_days <= MAX_DAYS:
            raise FlowrouteValueError(
                f"max_days is {max_days}: an export holds at least 1 and at most {MAX_DAYS} days."
            )
        start = self.start
        while start < self.end:
            end = min(start + timedelta(days=max_days), self.end)
            yield Window(start, end)
            start = end

    def __str__(self) -> str:
        return f"{format_instant(self.start)} .. {format_instant(self.end)} UTC"
