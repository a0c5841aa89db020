"""Find the days that stand out: a robust z-score, which a few extreme days do not move."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from statistics import fmean, median

from airflow_provider_flowroute.report.data import Day, Figures, Outlier

#: Iglewicz and Hoaglin (1993) recommend it for the modified z-score.
THRESHOLD = 3.5
#: Fewer days say nothing about what is normal.
MIN_DAYS = 7
#: From this number of days on, a day is compared with the same weekday.
WEEKDAY_DAYS = 28
#: The standard deviation of a normal distribution in units of its median and of its mean absolute deviation.
_PER_MEDIAN_DEVIATION, _PER_MEAN_DEVIATION = 1.4826, 1.2533


def robust_scores(
    values: Mapping[date, float], min_scale: float = 0.0
) -> Iterator[tuple[date, float, float]]:
    """Yield each day with its expected value and its robust z-score.

    The expected value is the median, of the same weekday if there are at least 28 days. The score is the distance from
    it, divided by the scaled median of all distances (MAD). If that is zero, their scaled mean replaces it.

    :param values: a value for each day.
    :param min_scale: the smallest divisor.
    """
    expected: dict[date, float] = {}
    groups: dict[int, list[date]] = defaultdict(list)
    for day in values:
        groups[day.weekday() if len(values) >= WEEKDAY_DAYS else 0].append(day)
    for days in groups.values():
        expected |= dict.fromkeys(days, median(values[day] for day in days))
    distances = [abs(values[day] - expected[day]) for day in values]
    scale = max(_PER_MEDIAN_DEVIATION * median(distances), min_scale)
    scale = scale or _PER_MEAN_DEVIATION * fmean(distances)
    for day, value in values.items():
        yield day, expected[day], (value - expected[day]) / scale if scale else 0.0


def find_outliers(
    days: Sequence[Day], destinations: Mapping[tuple[date, str, str], Figures]
) -> list[Outlier]:
    """Return the days whose cost, or whose calls to one destination, stand out.

    A cost stands out in both directions, calls only if they are too many. Calls are compared by twice the square root
    of their number (Anscombe's transformation), whose standard deviation is 1 for independent calls.

    :param days: days that are not completely landed are ignored.
    :param destinations: by day, direction and name.
    """
    usable = {day.date: day for day in days if day.has_all_calls}
    if len(usable) < MIN_DAYS:
        return []
    costs = {number: float(day.total.cost) for number, day in usable.items()}
    found = [
        Outlier(day, None, usable[day].total.cost, _dollars(expected), score, usable[day].total.cost)
        for day, expected, score in robust_scores(costs)
        if abs(score) >= THRESHOLD
    ]
    by_name: dict[str, dict[date, Figures]] = defaultdict(dict)
    for (day, direction, name), figures in destinations.items():
        if direction == "outbound" and day in usable:
            by_name[name][day] = figures
    for name, of_day in by_name.items():
        calls = {day: _anscombe(of_day[day].calls if day in of_day else 0) for day in usable}
        for day, expected, score in robust_scores(calls, min_scale=1.0):
            if score >= THRESHOLD:
                normal = Decimal(max(round(expected**2 / 4 - 3 / 8), 0))
                found.append(Outlier(day, name, Decimal(of_day[day].calls), normal, score, of_day[day].cost))
    return sorted(found, key=lambda outlier: (-abs(outlier.score), outlier.date, outlier.destination or ""))


def _anscombe(calls: int) -> float:
    return 2 * math.sqrt(calls + 3 / 8)


def _dollars(value: float) -> Decimal:
    return Decimal(value).quantize(Decimal("0.01"))
