"""What proves that a file is the export, and what does not."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_flowroute.cdr.columns import COLUMNS
from airflow_provider_flowroute.cdr.export import CdrExport
from airflow_provider_flowroute.landing.reconciliation import Reconciliation, Totals, same_cost

WINDOW = {"start_call_start_time": "2019-06-25 00:00:00", "start_call_end_time": "2019-06-26 00:00:00"}


def at(hour: int, minute: int = 0, second: int = 0, day: int = 25) -> datetime:
    return datetime(2019, 6, day, hour, minute, second, tzinfo=UTC)


FIGURES = Totals(3, Decimal("0.02468896"), 180, at(0), at(23, 59, 59))


def an_export(**attributes: Any) -> CdrExport:
    told = {"status": "completed", "num_calls": 3, "total_cost": "0.024689", "filter_parameters": WINDOW}
    return CdrExport.from_resource({"id": "1", "attributes": {**told, **attributes}})


def verdicts(
    export: CdrExport, figures: Totals, columns: Any = COLUMNS, repeated: Any = ()
) -> dict[str, Any]:
    checks = Reconciliation(export, figures, columns, repeated).checks
    return {check.name: check.agrees for check in checks}


AGREED = {"rows": True, "total_cost": True, "start_time": True, "cdr_id": True}


def test_a_file_that_is_the_export_agrees_in_everything():
    result = Reconciliation(an_export(), FIGURES, COLUMNS)

    assert verdicts(an_export(), FIGURES) == AGREED
    assert result.mismatches == []
    assert not result.has_unchecked


@pytest.mark.parametrize(
    ("figures", "wrong"),
    [
        (Totals(2, Decimal("0.02468896"), 180, at(0), at(1)), "rows"),
        (Totals(3, Decimal("0.02468796"), 180, at(0), at(1)), "total_cost"),
        (Totals(3, None, 180, at(0), at(1)), "total_cost"),
        (Totals(3, Decimal("0.02468896"), 180, at(23, 59, 59, day=24), at(1)), "start_time"),
        (Totals(3, Decimal("0.02468896"), 180, at(0), at(0, day=26)), "start_time"),
        (Totals(3, Decimal("0.02468896"), 180, at(0), at(1), without_start=1), "start_time"),
    ],
)
def test_one_call_too_few_one_unit_of_cost_or_one_second_outside_is_a_mismatch(figures, wrong):
    assert verdicts(an_export(), figures) == {**AGREED, wrong: False}


def test_a_cdr_id_that_stands_twice_is_a_mismatch_that_names_it():
    result = Reconciliation(an_export(), FIGURES, COLUMNS, ["id-1", "id-2", "id-3", "id-4"])

    assert [str(check) for check in result.mismatches] == [
        "cdr_id id-1, id-2, id-3 and others more than once (but each should stand once)"
    ]


def test_what_flowroute_does_not_tell_or_the_file_does_not_have_is_not_checked_rather_than_taken_for_right():
    export = an_export(num_calls=None, total_cost=None, filter_parameters={})

    result = Reconciliation(export, FIGURES, COLUMNS[:25])

    assert verdicts(export, FIGURES, columns=COLUMNS[:25]) == dict.fromkeys(AGREED)
    assert result.has_unchecked
    assert [str(check) for check in result.checks] == [
        "3 rows (not checked: Flowroute does not tell num_calls)",
        "0.02468896 USD (not checked: Flowroute does not tell total_cost)",
        "calls that began from 2019-06-25 00:00:00 to 2019-06-25 23:59:59 (not checked: Flowroute does not tell the "
        "window)",
        "no column cdr_id (not checked: older files have none)",
    ]


def test_that_older_files_have_no_cdr_id_is_nothing_to_warn_of():
    assert not Reconciliation(an_export(), FIGURES, COLUMNS[:25]).has_unchecked


def test_the_result_can_be_kept_as_json():
    result = Reconciliation(an_export(num_calls=4), FIGURES, COLUMNS)

    kept = json.loads(json.dumps(result.as_json()))
    assert kept["rows"] == {"in_file": "3 rows", "expected": "Flowroute counts 4 calls", "agrees": False}
    assert kept["cdr_id"]["agrees"] is True
    assert FIGURES.as_json() == {
        "rows": 3,
        "total_cost": "0.02468896",
        "billed_minutes": "3.00",
        "first_start": "2019-06-25T00:00:00+00:00",
        "last_start": "2019-06-25T23:59:59+00:00",
    }


def test_an_empty_file_agrees_with_an_export_of_no_calls():
    export = an_export(num_calls=0, total_cost="0.0")

    assert verdicts(export, Totals()) == AGREED
    assert Totals().as_json()["first_start"] is None


@pytest.mark.parametrize(
    ("summed", "reported", "same"),
    [
        ("34.3213004", "34.321300", True),
        ("34.3213005", "34.321300", True),  # half to even, or cut off
        ("34.3213005", "34.321301", True),  # half up
        ("34.3213009", "34.321300", True),  # cut off
        ("34.3213004", "34.321301", False),
        ("34.3213000", "34.321301", False),
        ("34.3213", "34.32", True),
        ("34.3313", "34.32", False),
        ("34.3213", "34.3213000000000012", True),  # the noise of a binary fraction
        ("34.3213", "34.3213", True),
        ("0", "0.0", True),
        ("0.04", "0.0", False),  # one decimal, but of nothing
        ("0.0000004", "0.0", True),
        ("0", "0", True),
        ("12", "12", True),
        ("12.4", "12", True),
        ("13", "12", False),
        ("1200", "1.2E+3", True),
        ("-0.5", "-0.500000", True),
    ],
)
def test_costs_are_compared_to_the_precision_in_which_flowroute_reports_them(summed, reported, same):
    assert same_cost(Decimal(summed), Decimal(reported)) is same


@given(parts=st.lists(st.decimals(0, 1000, places=8), min_size=1, max_size=20), off=st.integers(1, 10**6))
def test_a_cost_that_is_off_by_a_millionth_or_more_never_passes_for_right(parts, off):
    total = sum(parts, Decimal(0))
    reported = total.quantize(Decimal("0.000001"))

    assert same_cost(total, reported)
    assert not same_cost(total + Decimal(off + 1).scaleb(-6), reported)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 86399)), max_size=12), st.integers(0, 12))
def test_figures_of_parts_add_up_to_those_of_the_whole(rows, middle):
    def figures(some: list[tuple[int, int]]) -> Totals:
        starts = [at(second // 3600, second % 3600 // 60, second % 60) for _, second in some]
        return Totals(
            len(some),
            sum((Decimal(cost) for cost, _ in some), Decimal(0)),
            sum(second for _, second in some),
            min(starts, default=None),
            max(starts, default=None),
        )

    assert figures(rows[:middle]) + figures(rows[middle:]) == figures(rows)


def test_a_sum_of_a_column_that_is_not_there_stays_unknown():
    unknown = Totals(1, None, None) + Totals(1, None, None)

    assert (unknown.total_cost, unknown.billed_minutes) == (None, None)
    assert unknown.as_json()["total_cost"] is None
