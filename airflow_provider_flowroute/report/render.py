"""Render a report as one HTML file without scripts."""

from __future__ import annotations

from calendar import day_abbr
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from airflow_provider_flowroute import __version__
from airflow_provider_flowroute.cdr.export import pluralize
from airflow_provider_flowroute.report import charts
from airflow_provider_flowroute.report.data import Day, DayState, Figures, ReportData
from airflow_provider_flowroute.report.outliers import MIN_DAYS, THRESHOLD, WEEKDAY_DAYS
from airflow_provider_flowroute.report.previous import DATA_ID, compare

#: Days of each kind that stand out and are shown.
MAX_OUTLIERS = 8
_FEE_NAMES = {
    "cost_subtotal": "Minutes at the rate",
    "connect_fee": "Connection fees",
    "usf_fee": "Universal Service Fund (USF)",
    "ccrf": "Carrier Cost Recovery Fee (CCRF)",
    "cnam_lookup_fee": "Caller name lookups (CNAM)",
}
_CENT = Decimal("0.01")


def render(data: ReportData, previous: Mapping[str, Any] | None = None) -> str:
    """Return the HTML of a report.

    :param data: its figures.
    :param previous: the figures of an earlier report.
    """
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= _FILTERS
    changes = compare(data, previous) if previous is not None else None
    costly_days = [outlier for outlier in data.outliers if outlier.destination is None]
    busy_days = [outlier for outlier in data.outliers if outlier.destination is not None]
    marked = {outlier.date for outlier in costly_days[:MAX_OUTLIERS]}
    number_of = Counter(day.state for day in data.days)
    no_destination = "(no destination)"
    return environment.get_template("report.html.j2").render(
        data=data,
        period=charts.period_text(data.start, data.end),
        states={state: number_of[state] for state in DayState},
        symbols=charts.SYMBOLS,
        fees=sum((fee for name, fee in data.fees.items() if name != "cost_subtotal"), Decimal(0)),
        fee_names=_FEE_NAMES,
        changes=changes,
        earlier_period=charts.period_text(changes.start, changes.end) if changes else "",
        overlapping=changes is not None
        and changes.timezone == data.timezone
        and changes.start < data.end
        and data.start < changes.end,
        months=charts.calendar(data),
        cost_chart=charts.day_chart(data, lambda figures: figures.cost, marked),
        calls_chart=charts.day_chart(data, lambda figures: figures.calls, set()),
        cost_description=_describe(data, lambda day: day.total.cost, lambda value: f"{_money(value)} USD"),
        calls_description=_describe(data, lambda day: day.total.calls, lambda value: f"{value:,} calls"),
        marked_days=marked,
        costly_days=costly_days,
        busy_days=busy_days,
        destinations=charts.bar_rows(data, data.destinations, no_destination),
        aliases=charts.bar_rows(data, data.aliases, "(no alias)"),
        no_destination=no_destination,
        heat=charts.heat_map(data),
        heat_description=_describe_hours(data),
        top=charts.TOP,
        most_outliers=MAX_OUTLIERS,
        min_days=MIN_DAYS,
        threshold=THRESHOLD,
        by_weekday=sum(day.has_all_calls for day in data.days) >= WEEKDAY_DAYS,
        version=__version__,
        data_id=DATA_ID,
    )


def _describe(data: ReportData, value: Callable[[Day], Any], text: Callable[[Any], str]) -> str:
    """Describe a chart for people who do not see it."""
    days = [day for day in data.days if day.has_all_calls]
    if not days:
        return "No day is completely landed."
    lowest, highest = min(days, key=value), max(days, key=value)
    return (
        f"Bars for {len(data.days)} days. Highest: {text(value(highest))} on {_day(highest.date)}. "
        f"Lowest of the completely landed days: {text(value(lowest))} on {_day(lowest.date)}."
    )


def _describe_hours(data: ReportData) -> str:
    if not data.hours:
        return "There are no calls."
    (weekday, hour), figures = max(data.hours.items(), key=lambda item: item[1].cost)
    name = day_abbr[weekday]
    return f"A cell for each hour of the week. Highest: {_money(figures.cost)} USD, {name} {hour:02d}:00."


def _month_text(cells: Sequence[tuple[Day, int, int]]) -> str:
    days: dict[DayState, list[int]] = {}
    for day, _, _ in cells:
        days.setdefault(day.state, []).append(day.date.day)
    if list(days) == [DayState.COMPLETE]:
        return f"All {len(cells)} days are landed and reconciled."
    return ". ".join(
        f"{state.value}: {pluralize(len(numbers), 'day')}"
        if state is DayState.COMPLETE
        else f"{state.value}: day {', '.join(map(str, numbers))}"
        for state, numbers in days.items()
    )


def _day(day: date) -> str:
    return f"{day.isoformat()} {day_abbr[day.weekday()]}"


def _money(amount: Decimal | int) -> str:
    rounded = Decimal(amount).quantize(_CENT, ROUND_HALF_EVEN)
    return "<0.01" if not rounded and amount > 0 else f"{rounded:,f}"


def _signed_money(amount: Decimal) -> str:
    return f"{amount.quantize(_CENT, ROUND_HALF_EVEN):+,f}"


def _split_text(figures: Mapping[str, Figures]) -> str:
    return ", ".join(f"{direction} {_money(part.cost)} USD" for direction, part in figures.items())


_FILTERS: dict[str, Callable[..., str]] = {
    "count": lambda number: f"{number:,.0f}",
    "day": _day,
    "exact": lambda amount: f"{Decimal(amount):,.8f}",
    "money": _money,
    "month_text": _month_text,
    "percent": lambda share: f"{share:.1f} %",
    "plural": pluralize,
    "rate": lambda amount: f"{amount:.4f}",
    "signed": lambda number: f"{number:+,}",
    "signed_money": _signed_money,
    "signed_percent": lambda share: f"{share:+.1f} %",
    "split_text": _split_text,
}
