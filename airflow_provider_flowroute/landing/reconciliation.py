"""Compare a file with Flowroute's figures for its export: rows, cost, window and duplicate calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from typing import Any, Self

from airflow_provider_flowroute.cdr.columns import FEE_COLUMNS, MONEY_SCALE
from airflow_provider_flowroute.cdr.export import CdrExport
from airflow_provider_flowroute.cdr.window import Window

#: Flowroute writes amounts with six decimals, except zero, which is ``"0.0"``.
_ZERO_DECIMALS = 6


@dataclass(frozen=True)
class Totals:
    """The totals of some rows of a file. The totals of two parts can be added.

    :param rows: the number of rows.
    :param total_cost: the exact sum of ``total_cost`` in US dollars; None if the file has no such column.
    :param billed_seconds: the sum of ``billed_duration``; None if the file has no such column.
    :param first_start: the earliest ``start_time``, UTC; None without rows.
    :param last_start: the latest ``start_time``, UTC; None without rows.
    :param without_start: the number of rows whose ``start_time`` is empty.
    :param fees: the exact sums of the fees in US dollars, by Flowroute's names (``call_subtotal``, ``connect_fees``,
        ``cnamlookup_fees``, ``usf_fees``, ``ccrf``); None if the file has no such column. Empty if they were not added
        up: for a CSV, and in the footer of a file from an earlier version.
    """

    rows: int = 0
    total_cost: Decimal | None = Decimal(0)
    billed_seconds: int | None = 0
    first_start: datetime | None = None
    last_start: datetime | None = None
    without_start: int = 0
    fees: Mapping[str, Decimal | None] = field(default_factory=lambda: dict.fromkeys(FEE_COLUMNS, Decimal(0)))

    def __add__(self, other: Totals) -> Totals:
        firsts = [part.first_start for part in (self, other) if part.first_start is not None]
        lasts = [part.last_start for part in (self, other) if part.last_start is not None]
        return Totals(
            rows=self.rows + other.rows,
            total_cost=_sum(self.total_cost, other.total_cost),
            billed_seconds=_sum(self.billed_seconds, other.billed_seconds),
            first_start=min(firsts, default=None),
            last_start=max(lasts, default=None),
            without_start=self.without_start + other.without_start,
            fees={name: _sum(self.fees[name], other.fees[name]) for name in self.fees if name in other.fees},
        )

    @property
    def billed_minutes(self) -> Decimal | None:
        """Minutes with two decimals, as in the export."""
        if self.billed_seconds is None:
            return None
        return (Decimal(self.billed_seconds) / 60).quantize(Decimal("0.01"), ROUND_HALF_UP)

    def as_json(self) -> dict[str, Any]:
        """Return the totals as JSON. Amounts are text to stay exact; times are ISO 8601, UTC."""
        return {
            "rows": self.rows,
            "total_cost": _text(self.total_cost),
            "billed_minutes": None if self.billed_minutes is None else f"{self.billed_minutes:f}",
            "first_start": self.first_start.isoformat() if self.first_start else None,
            "last_start": self.last_start.isoformat() if self.last_start else None,
            "without_start": self.without_start,
            "fees": {name: _text(amount) for name, amount in self.fees.items()},
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the totals that :meth:`as_json` returned, also that of an earlier version.

        :param values: the decoded JSON.
        :raises KeyError, TypeError, ValueError, ArithmeticError: the JSON is something else.
        """
        minutes = _amount(values["billed_minutes"])
        first, last = values["first_start"], values["last_start"]
        return cls(
            rows=int(values["rows"]),
            total_cost=_amount(values["total_cost"]),
            # Exact: minutes are rounded to less than a second.
            billed_seconds=None if minutes is None else round(minutes * 60),
            first_start=None if first is None else datetime.fromisoformat(first),
            last_start=None if last is None else datetime.fromisoformat(last),
            without_start=int(values.get("without_start", 0)),
            fees={name: _amount(amount) for name, amount in values.get("fees", {}).items()},
        )


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount:.8f}"


def _amount(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _sum(a: Any, b: Any) -> Any:
    return None if a is None or b is None else a + b


def same_cost(summed: Decimal, reported: Decimal) -> bool:
    """Return whether an exact sum equals the amount that Flowroute reports, at the precision that Flowroute uses.

    How Flowroute rounds is not published: half even, half up and rounding down are accepted.

    :param summed: the exact sum, US dollars.
    :param reported: the export's ``total_cost``.
    """
    exponent = reported.as_tuple().exponent
    assert isinstance(exponent, int)  # an amount is finite, see CdrExport
    # Decimals beyond those of a row are noise of binary fractions.
    decimals = min(-exponent, MONEY_SCALE) if reported else _ZERO_DECIMALS
    unit = Decimal(1).scaleb(-max(decimals, 0))
    roundings = {summed.quantize(unit, how) for how in (ROUND_HALF_EVEN, ROUND_HALF_UP, ROUND_DOWN)}
    return reported.quantize(unit, ROUND_HALF_EVEN) in roundings


def differing_figures(export: CdrExport, totals: Totals) -> dict[str, tuple[Any, Any]]:
    """Return the figures in which an export differs from landed rows, each with the landed and the new value.

    A fee or ``billed_minutes`` that one of the two does not have is not compared.

    :param export: a completed export of the same window.
    :param totals: the totals of the landed rows.
    """
    minutes = None if totals.billed_seconds is None else Decimal(totals.billed_seconds) / 60
    amounts = {"billed_minutes": (minutes, export.billed_minutes)}
    amounts |= {name: (amount, export.fees.get(name)) for name, amount in totals.fees.items()}
    differing: dict[str, tuple[Any, Any]] = {
        name: (landed, reported)
        for name, (landed, reported) in amounts.items()
        if landed is not None and reported is not None and not same_cost(landed, reported)
    }
    cost = totals.total_cost, export.total_cost
    if None in cost or not same_cost(*cost):  # type: ignore[arg-type]
        differing["total_cost"] = cost
    if totals.rows != export.num_calls:
        differing["num_calls"] = (totals.rows, export.num_calls)
    return differing


#: The first and the last ``start_time`` of a file, or the two ends of a window.
Interval = tuple[datetime, datetime]


@dataclass(frozen=True)
class Check:
    """One comparison of a file with its export.

    :param name: ``rows``, ``total_cost``, ``start_time`` or ``cdr_id``.
    :param actual: the file's value: rows, US dollars, first and last ``start_time``, or the number of duplicate IDs.
    :param expected: the value to compare with; None if it is unknown.
    :param passed: None if the check was skipped.
    :param reason: why the check failed or was skipped, where the values do not say it.
    """

    name: str
    actual: int | Decimal | Interval | None
    expected: int | Decimal | Interval | None
    passed: bool | None
    reason: str = ""

    def __str__(self) -> str:
        """Return the check in words, for the log."""
        verdict = {True: "passed", False: "failed", None: "not checked"}[self.passed]
        because = f": {self.reason}" if self.reason else ""
        return f"{self.name} {as_text(self.actual)}, expected {as_text(self.expected)} ({verdict}{because})"

    def as_json(self) -> dict[str, Any]:
        """Return the check as JSON. Amounts and intervals are text."""

        def plain(value: int | Decimal | Interval | None) -> int | str | None:
            return value if value is None or isinstance(value, int) else as_text(value)

        return {
            "actual": plain(self.actual),
            "expected": plain(self.expected),
            "passed": self.passed,
            "reason": self.reason,
        }


def as_text(value: int | Decimal | Interval | None) -> str:
    """Return a check's value as text: amounts exact, intervals in ISO 8601.

    :param value: ``actual`` or ``expected`` of a check.
    """
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return "/".join(instant.isoformat() for instant in value)
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


class Reconciliation:
    """Compare a file with its export.

    :param export: the export as Flowroute describes it.
    :param totals: the totals of the file.
    :param columns: the columns that the file has.
    :param duplicates: values of ``cdr_id`` that occur more than once.
    :param unassigned: the number of rows that belong to no day of the window, and are in no day file.
    """

    def __init__(
        self,
        export: CdrExport,
        totals: Totals,
        columns: Iterable[str],
        duplicates: Sequence[str] = (),
        *,
        unassigned: int = 0,
    ) -> None:
        self.totals = totals
        self.unassigned = unassigned
        self.columns = tuple(columns)
        self.checks = (
            _check_rows(export, totals),
            _check_cost(export, totals),
            _check_window(export.window, totals),
            _check_ids("cdr_id" in self.columns, duplicates),
        )

    @property
    def mismatches(self) -> list[Check]:
        """The checks that failed."""
        return [check for check in self.checks if check.passed is False]

    @property
    def has_unchecked(self) -> bool:
        """Whether Flowroute omitted a figure that a check needs. Older files have no ``cdr_id``, which is normal."""
        return any(check.passed is None and check.name != "cdr_id" for check in self.checks)

    def as_json(self) -> Mapping[str, dict[str, Any]]:
        """Return the checks by name, as JSON."""
        return {check.name: check.as_json() for check in self.checks}


def _check_rows(export: CdrExport, totals: Totals) -> Check:
    if export.num_calls is None:
        return Check("rows", totals.rows, None, None, "Flowroute did not report num_calls")
    return Check("rows", totals.rows, export.num_calls, totals.rows == export.num_calls)


def _check_cost(export: CdrExport, totals: Totals) -> Check:
    actual, expected = totals.total_cost, export.total_cost
    if expected is None:
        return Check("total_cost", actual, None, None, "Flowroute did not report total_cost")
    reason = "the file has no column total_cost" if actual is None else ""
    return Check("total_cost", actual, expected, same_cost(actual or Decimal(0), expected), reason)


def _check_window(window: Window | None, totals: Totals) -> Check:
    first, last = totals.first_start, totals.last_start
    actual = (first, last) if first and last else None
    if window is None:
        return Check("start_time", actual, None, None, "Flowroute did not report the window")
    inside = actual is None or (window.start <= actual[0] and actual[1] < window.end)
    reason = f"{totals.without_start} rows have no start_time" if totals.without_start else ""
    return Check(
        "start_time", actual, (window.start, window.end), inside and not totals.without_start, reason
    )


def _check_ids(has_ids: bool, duplicates: Sequence[str]) -> Check:
    if not has_ids:
        return Check("cdr_id", None, 0, None, "older files have no column cdr_id")
    shown = ", ".join(duplicates[:3]) + (" and others" if len(duplicates) > 3 else "")
    return Check("cdr_id", len(duplicates), 0, not duplicates, f"duplicates of {shown}" if duplicates else "")
