"""Whether a file is what Flowroute says of the export: every call, every cent, none twice, none from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from typing import Any

from airflow_provider_flowroute.cdr.columns import MONEY_SCALE
from airflow_provider_flowroute.cdr.export import CdrExport, pluralize
from airflow_provider_flowroute.cdr.window import Window, format_instant

#: Flowroute writes an amount with six decimals, but for nothing at all: that is ``"0.0"``.
_ZERO_DECIMALS = 6


@dataclass(frozen=True)
class Totals:
    """What some rows of a file add up to; those of two parts can be added.

    :param rows: how many.
    :param total_cost: the exact sum of ``total_cost``, US dollars; None if the file has no such column.
    :param billed_seconds: the sum of ``billed_duration``; None likewise.
    :param first_start: the earliest ``start_time``, UTC; None without rows.
    :param last_start: the latest.
    :param without_start: rows whose ``start_time`` is empty.
    """

    rows: int = 0
    total_cost: Decimal | None = Decimal(0)
    billed_seconds: int | None = 0
    first_start: datetime | None = None
    last_start: datetime | None = None
    without_start: int = 0

    def __add__(self, other: Totals) -> Totals:
        firsts = [each.first_start for each in (self, other) if each.first_start is not None]
        lasts = [each.last_start for each in (self, other) if each.last_start is not None]
        return Totals(
            rows=self.rows + other.rows,
            total_cost=_sum(self.total_cost, other.total_cost),
            billed_seconds=_sum(self.billed_seconds, other.billed_seconds),
            first_start=min(firsts, default=None),
            last_start=max(lasts, default=None),
            without_start=self.without_start + other.without_start,
        )

    @property
    def billed_minutes(self) -> Decimal | None:
        """Minutes, to two decimals, as the export has them."""
        if self.billed_seconds is None:
            return None
        return (Decimal(self.billed_seconds) / 60).quantize(Decimal("0.01"), ROUND_HALF_UP)

    def as_json(self) -> dict[str, Any]:
        """As JSON. Amounts are text, so that they stay exact; times are ISO 8601, UTC."""
        return {
            "rows": self.rows,
            "total_cost": None if self.total_cost is None else f"{self.total_cost:.8f}",
            "billed_minutes": None if self.billed_minutes is None else f"{self.billed_minutes:f}",
            "first_start": self.first_start.isoformat() if self.first_start else None,
            "last_start": self.last_start.isoformat() if self.last_start else None,
        }


def _sum(a: Any, b: Any) -> Any:
    return None if a is None or b is None else a + b


def same_cost(summed: Decimal, reported: Decimal) -> bool:
    """Whether a sum of exact amounts is what Flowroute reports, to the precision in which it does.

    How Flowroute rounds is not published: nearest (both ways of a half) and cut off are taken.

    :param summed: the exact sum, US dollars.
    :param reported: the export's ``total_cost``.
    """
    exponent = reported.as_tuple().exponent
    assert isinstance(exponent, int)  # an amount is finite, see CdrExport
    # More decimals than a row has are the noise of binary fractions.
    decimals = min(-exponent, MONEY_SCALE) if reported else _ZERO_DECIMALS
    unit = Decimal(1).scaleb(-max(decimals, 0))
    roundings = {summed.quantize(unit, how) for how in (ROUND_HALF_EVEN, ROUND_HALF_UP, ROUND_DOWN)}
    return reported.quantize(unit, ROUND_HALF_EVEN) in roundings


@dataclass(frozen=True)
class Check:
    """One comparison of the file with the export.

    :param name: ``rows``, ``total_cost``, ``start_time`` or ``cdr_id``.
    :param in_file: what the file has, in words.
    :param expected: what it should be, or why that is not known.
    :param agrees: None if it could not be compared.
    """

    name: str
    in_file: str
    expected: str
    agrees: bool | None

    def __str__(self) -> str:
        """For the log."""
        verdict = {True: "as expected", False: f"but {self.expected}", None: f"not checked: {self.expected}"}
        return f"{self.in_file} ({verdict[self.agrees]})"


class Reconciliation:
    """The proof that a file is what the export says, or the list of what is wrong with it.

    :param export: as Flowroute describes it.
    :param figures: what the file adds up to.
    :param columns: the columns the file has.
    :param repeated: some ``cdr_id`` that stand in it more than once.
    """

    def __init__(
        self, export: CdrExport, figures: Totals, columns: Iterable[str], repeated: Iterable[str] = ()
    ) -> None:
        self.figures = figures
        self.columns = tuple(columns)
        self.checks = (
            _rows(export, figures),
            _cost(export, figures),
            _window(export.window, figures),
            _unique("cdr_id" in self.columns, list(repeated)),
        )

    @property
    def mismatches(self) -> list[Check]:
        """The checks that failed."""
        return [check for check in self.checks if check.agrees is False]

    @property
    def has_unchecked(self) -> bool:
        """Whether Flowroute left out what a check needs. That older files have no ``cdr_id`` is as it should be."""
        return any(check.agrees is None and check.name != "cdr_id" for check in self.checks)

    def as_json(self) -> Mapping[str, Any]:
        """As JSON, for the metadata of the file."""
        return {
            check.name: {"in_file": check.in_file, "expected": check.expected, "agrees": check.agrees}
            for check in self.checks
        }


def _rows(export: CdrExport, figures: Totals) -> Check:
    in_file, told = pluralize(figures.rows, "row"), export.num_calls
    if told is None:
        return Check("rows", in_file, "Flowroute does not tell num_calls", None)
    return Check("rows", in_file, f"Flowroute counts {pluralize(told, 'call')}", figures.rows == told)


def _cost(export: CdrExport, figures: Totals) -> Check:
    summed, told = figures.total_cost, export.total_cost
    in_file = "no column total_cost" if summed is None else f"{summed:.8f} USD"
    if told is None:
        return Check("total_cost", in_file, "Flowroute does not tell total_cost", None)
    expected = f"Flowroute's total_cost is {told:f} USD"
    return Check("total_cost", in_file, expected, same_cost(summed or Decimal(0), told))


def _window(window: Window | None, figures: Totals) -> Check:
    first, last = figures.first_start, figures.last_start
    in_file = "no call with a start_time"
    if first and last:
        in_file = f"calls that began from {format_instant(first)} to {format_instant(last)}"
    if figures.without_start:
        in_file += f", {figures.without_start} without start_time"
    if window is None:
        return Check("start_time", in_file, "Flowroute does not tell the window", None)
    inside = first is None or last is None or (window.start <= first and last < window.end)
    return Check("start_time", in_file, f"the window is {window}", inside and not figures.without_start)


def _unique(has_ids: bool, repeated: list[str]) -> Check:
    if not has_ids:
        return Check("cdr_id", "no column cdr_id", "older files have none", None)
    shown = ", ".join(repeated[:3]) + (" and others" if len(repeated) > 3 else "")
    in_file = f"cdr_id {shown} more than once" if repeated else "each cdr_id once"
    return Check("cdr_id", in_file, "each should stand once", not repeated)
