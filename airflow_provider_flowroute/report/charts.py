"""The geometry of the pictures. The templates turn it into SVG."""

from __future__ import annotations

import math
from calendar import day_abbr, month_abbr, month_name
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from airflow_provider_flowroute.report.data import Day, DayState, Figures, Group, ReportData

#: Destinations and aliases that are shown by name.
TOP = 15
#: More bars touch each other, because a gap would be narrower than a pixel.
_BARS_WITH_GAPS = 100
#: A symbol for each state of a day, so that the calendar does not depend on colours.
SYMBOLS = {
    DayState.COMPLETE: "",
    DayState.UNCHECKED: "?",
    DayState.MISMATCH: "≠",
    DayState.OVERLAP: "2\N{MULTIPLICATION SIGN}",
    DayState.PARTIAL: "◐",
    DayState.MISSING: "\N{MULTIPLICATION SIGN}",
}


def ticks(maximum: float, count: int = 4) -> list[float]:
    """Return round values from 0 to at least a maximum.

    :param maximum: the largest value of a chart.
    :param count: about how many steps there are.
    """
    if maximum <= 0:
        return [0, 1]
    rough = maximum / count
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
    return [round(number * step, 10) for number in range(math.ceil(maximum / step - 1e-9) + 1)]


@dataclass(frozen=True)
class Label:
    """A text beside a chart.

    :param position: percent of the axis.
    :param text: the label.
    :param minor: it is hidden if there is little space.
    """

    position: float
    text: str
    minor: bool = False


@dataclass(frozen=True)
class DayChart:
    """Bars for the days of the period, one colour for each direction.

    :param days: the days.
    :param paths: for each direction the outline of its bars. The width of a day is 1, the height of the chart is 100.
    :param y_labels: the values of the vertical axis.
    :param x_labels: the days of the horizontal axis.
    :param gaps: the index of each day without all its calls.
    :param marks: position of each day that stands out, in percent from the left and from the bottom.
    """

    days: Sequence[Day]
    paths: Mapping[str, str]
    y_labels: Sequence[Label]
    x_labels: Sequence[Label]
    gaps: Sequence[int]
    marks: Sequence[tuple[float, float]]


def day_chart(data: ReportData, value: Callable[[Figures], int | Decimal], marked: set[date]) -> DayChart:
    """Return the chart of one figure.

    :param data: the report.
    :param value: selects the figure.
    :param marked: days that stand out.
    """
    values = ticks(max((float(value(day.total)) for day in data.days), default=0))
    top = values[-1]
    inset = 0.12 if len(data.days) <= _BARS_WITH_GAPS else 0.0
    paths: dict[str, str] = {}
    heights = [0.0] * len(data.days)
    for direction in data.directions:
        parts = []
        for index, day in enumerate(data.days):
            height = 100 * float(value(day.figures.get(direction, Figures()))) / top
            if height:
                foot = 100 - heights[index]
                left, width = index + inset, 1 - 2 * inset
                parts.append(f"M{left:g} {foot:.2f}v{-height:.2f}h{width:g}v{height:.2f}z")
                heights[index] += height
        paths[direction] = "".join(parts)
    middle = 100 / len(data.days)
    return DayChart(
        days=data.days,
        paths=paths,
        y_labels=[Label(100 * tick / top, f"{tick:,.10g}") for tick in values],
        x_labels=_day_labels(data),
        gaps=[index for index, day in enumerate(data.days) if not day.has_all_calls],
        marks=[
            ((index + 0.5) * middle, heights[index])
            for index, day in enumerate(data.days)
            if day.date in marked
        ],
    )


def _day_labels(data: ReportData) -> list[Label]:
    days = [day.date for day in data.days]
    if len(days) <= 62:
        shown = [day for day in days if day.day in (1, 8, 15, 22, 29)] or days[:1]
        texts = {day: f"{day.day} {month_abbr[day.month]}" for day in shown}
    else:
        shown = [day for day in days if day.day == 1]
        shown = shown[:: math.ceil(len(shown) / 18)]
        texts = {day: str(day.year) if day.month == 1 else month_abbr[day.month] for day in shown}
    width = 100 / len(days)
    return [
        Label((day - days[0]).days * width + width / 2 * (len(days) <= 62), text, minor=index % 2 == 1)
        for index, (day, text) in enumerate(texts.items())
    ]


@dataclass(frozen=True)
class Month:
    """A month of the calendar.

    :param name: its name, with the year.
    :param weeks: number of rows.
    :param cells: each day with its column (0 is Monday) and row.
    """

    name: str
    weeks: int
    cells: Sequence[tuple[Day, int, int]]


def calendar(data: ReportData) -> list[Month]:
    """Return the months of the period."""
    months: dict[tuple[int, int], list[Day]] = {}
    for day in data.days:
        months.setdefault((day.date.year, day.date.month), []).append(day)
    result = []
    for (year, month), days in months.items():
        first = date(year, month, 1).weekday()
        cells = [(day, day.date.weekday(), (day.date.day - 1 + first) // 7) for day in days]
        result.append(Month(f"{month_name[month]} {year}", cells[-1][2] + 1, cells))
    return result


@dataclass(frozen=True)
class BarRow:
    """A row of a bar chart.

    :param name: what the figures belong to.
    :param figures: by direction.
    :param parts: for each direction the left end and the width of its bar, in percent of the longest bar.
    :param share: percent of the cost of all rows.
    """

    name: str
    figures: Mapping[str, Figures]
    parts: Mapping[str, tuple[float, float]]
    share: float

    @property
    def total(self) -> Figures:
        """All directions."""
        return sum(self.figures.values(), Figures())


def bar_rows(data: ReportData, groups: Sequence[Group], nameless: str) -> list[BarRow]:
    """Return the most expensive groups, and the sum of the others as the last row.

    :param data: the report.
    :param groups: most expensive first.
    :param nameless: the name of the group without a name.
    """
    shown = [Group(group.name or nameless, group.figures) for group in groups[:TOP]]
    if others := groups[TOP:]:
        sums = {
            direction: sum((group.figures.get(direction, Figures()) for group in others), Figures())
            for direction in data.directions
        }
        shown.append(Group(f"{len(others):,} other{'s' if len(others) > 1 else ''}", sums))
    longest = max((group.total.cost for group in shown), default=Decimal(0)) or Decimal(1)
    total = data.totals.cost or Decimal(1)
    rows = []
    for group in shown:
        parts, left = {}, 0.0
        for direction in data.directions:
            width = float(100 * group.figures.get(direction, Figures()).cost / longest)
            parts[direction] = (left, width)
            left += width
        rows.append(BarRow(group.name, group.figures, parts, float(100 * group.total.cost / total)))
    return rows


@dataclass(frozen=True)
class HeatMap:
    """The cost by weekday and hour.

    :param cells: weekday (0 is Monday), hour, figures, and the share of the maximum.
    :param weekdays: the name of each weekday, and how many of them the period has.
    :param maximum: the highest cost of an hour of the week, US dollars.
    """

    cells: Sequence[tuple[int, int, Figures, float]]
    weekdays: Sequence[tuple[str, int]]
    maximum: Decimal


def heat_map(data: ReportData) -> HeatMap:
    """Return the heat map of a report."""
    maximum = max((figures.cost for figures in data.hours.values()), default=Decimal(0))
    cells = []
    for weekday in range(7):
        for hour in range(24):
            figures = data.hours.get((weekday, hour), Figures())
            cells.append((weekday, hour, figures, float(figures.cost / maximum) if maximum else 0.0))
    numbers = [0] * 7
    for day in data.days:
        numbers[day.date.weekday()] += 1
    return HeatMap(cells, list(zip(day_abbr, numbers, strict=True)), maximum)


def period_text(start: date, end: date) -> str:
    """Return a period in words.

    :param start: the first day.
    :param end: the day after the last day.
    """
    last = end - timedelta(days=1)
    if start.day == 1 and end.day == 1 and (last.year, last.month) == (start.year, start.month):
        return f"{month_name[start.month]} {start.year}"
    if (start.day, start.month, end.day, end.month) == (1, 1, 1, 1) and last.year == start.year:
        return str(start.year)
    first_text, last_text = (f"{day.day} {month_name[day.month]} {day.year}" for day in (start, last))
    return first_text if start == last else f"{first_text} to {last_text}"
