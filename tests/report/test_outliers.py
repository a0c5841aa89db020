"""The days that stand out."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from airflow_provider_flowroute.report.data import Day, DayState, Figures
from airflow_provider_flowroute.report.outliers import THRESHOLD, find_outliers, robust_scores

MONDAY = date(2026, 6, 1)


def days_of(costs: list[float], calls: int = 100) -> list[Day]:
    return [
        Day(
            MONDAY + timedelta(days=index),
            24,
            DayState.COMPLETE,
            {"outbound": Figures(calls, Decimal(str(cost)), 60)},
        )
        for index, cost in enumerate(costs)
    ]


def scores_of(values: list[float], **options: float) -> list[float]:
    days = {MONDAY + timedelta(days=index): value for index, value in enumerate(values)}
    return [score for _, _, score in robust_scores(days, **options)]


def test_score_is_the_distance_from_the_median_in_scaled_mads():
    """The median is 4, the distances are 3 2 1 0 1 2 96, so the MAD is 2."""
    scores = scores_of([1, 2, 3, 4, 5, 6, 100])

    assert scores == pytest.approx([-1.0117, -0.6745, -0.3372, 0, 0.3372, 0.6745, 32.375], abs=1e-3)


def test_score_uses_the_mean_distance_if_most_days_are_equal():
    """The median of the distances is 0, their mean is 1."""
    scores = scores_of([5, 5, 5, 5, 5, 5, 12])

    assert scores == pytest.approx([0] * 6 + [7 / 1.2533])


def test_equal_days_do_not_stand_out():
    assert scores_of([5] * 7) == [0] * 7
    assert find_outliers(days_of([5] * 40), {}) == []


def test_several_extreme_days_do_not_hide_each_other():
    """A z-score with mean and standard deviation would be 1.5 for both."""
    assert [score > THRESHOLD for score in scores_of([10, 11, 9, 10, 12, 500, 500])] == [False] * 5 + [
        True
    ] * 2


def test_from_four_weeks_on_weekends_are_compared_with_weekends():
    week = [100, 101, 99, 100, 102, 20, 20]

    short = find_outliers(days_of([float(cost) for cost in week]), {})
    long = find_outliers(
        days_of([float(cost + week_number % 3) for week_number in range(4) for cost in week]), {}
    )

    assert {outlier.date.weekday() for outlier in short} == {5, 6}
    assert long == []


def test_a_cost_stands_out_if_it_is_too_high_or_too_low():
    costs = [100.0, 101, 99, 100, 102, 98, 100, 160, 40]

    high, low = find_outliers(days_of(costs), {})

    assert [(outlier.value, outlier.expected, outlier.score > 0) for outlier in (high, low)] == [
        (Decimal("160.0"), Decimal("100.00"), True),
        (Decimal("40.0"), Decimal("100.00"), False),
    ]


def test_many_calls_to_one_destination_stand_out():
    days = days_of([100.0] * 10)
    night = days[6].date
    calls = {(day.date, "outbound", "CANADA"): Figures(50, Decimal(1)) for day in days}
    calls[night, "outbound", "CUBA"] = Figures(40, Decimal(146))

    [found] = find_outliers(days, calls)

    assert (found.date, found.destination) == (night, "CUBA")
    assert (found.value, found.expected) == (Decimal(40), Decimal(0))
    assert found.cost == Decimal(146)
    # 2 * sqrt(40.375) - 2 * sqrt(0.375), divided by a scale of at least 1
    assert found.score == pytest.approx(11.483, abs=1e-3)


@pytest.mark.parametrize("number", [1, 3, 5])
def test_a_few_calls_to_a_rare_destination_do_not_stand_out(number: int):
    days = days_of([100.0] * 10)

    assert find_outliers(days, {(days[3].date, "outbound", "CUBA"): Figures(number, Decimal(1))}) == []


def test_inbound_calls_are_no_sign_of_toll_fraud():
    days = days_of([100.0] * 10)

    assert find_outliers(days, {(days[3].date, "inbound", "UNITED STATES"): Figures(900, Decimal(1))}) == []


@pytest.mark.parametrize("state", [DayState.PARTIAL, DayState.OVERLAP, DayState.MISSING])
def test_days_without_all_their_calls_are_not_compared(state: DayState):
    days = days_of([100.0] * 10)
    days[4] = Day(days[4].date, 24, state, {"outbound": Figures(100, Decimal(900))})

    assert find_outliers(days, {(days[4].date, "outbound", "CUBA"): Figures(99, Decimal(9))}) == []


def test_six_days_are_too_few_to_say_what_is_normal():
    assert find_outliers(days_of([1.0, 1, 1, 1, 1, 900]), {}) == []
    assert len(find_outliers(days_of([1.0, 1, 1, 1, 1, 1, 900]), {})) == 1
