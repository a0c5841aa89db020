"""Each check of a file against Flowroute's totals passes, fails, or is skipped with a reason."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_flowroute.cdr.columns import COLUMNS, FEE_COLUMNS
from airflow_provider_flowroute.cdr.export import CdrExport
from airflow_provider_flowroute.landing.reconciliation import (
    Reconciliation,
    Totals,
    differing_figures,
    same_cost,
)

WINDOW = {"start_call_start_time": "2019-06-25 00:00:00", "start_call_end_time": "2019-06-26 00:00:00"}


def at(hour: int, minute: int = 0, second: int = 0, day: int = 25) -> datetime:
    return datetime(2019, 6, day, hour, minute, second, tzinfo=UTC)


TOTALS = Totals(3, Decimal("0.02468896"), 180, at(0), at(23, 59, 59))


def an_export(**attributes: Any) -> CdrExport:
    reported = {"status": "completed", "num_calls": 3, "total_cost": "0.024689", "filter_parameters": WINDOW}
    return CdrExport.from_resource({"id": "1", "attributes": {**reported, **attributes}})


def passed(export: CdrExport, totals: Totals, columns: Any = COLUMNS, duplicates: Any = ()) -> dict[str, Any]:
    checks = Reconciliation(export, totals, columns, duplicates).checks
    return {check.name: check.passed for check in checks}


ALL_PASSED = {"rows": True, "total_cost": True, "start_time": True, "cdr_id": True}


def test_a_file_that_matches_passes_every_check():
    result = Reconciliation(an_export(), TOTALS, COLUMNS)

    assert passed(an_export(), TOTALS) == ALL_PASSED
    assert result.mismatches == []
    assert not result.has_unchecked


@pytest.mark.parametrize(
    ("totals", "wrong"),
    [
        (Totals(2, Decimal("0.02468896"), 180, at(0), at(1)), "rows"),
        (Totals(3, Decimal("0.02468796"), 180, at(0), at(1)), "total_cost"),
        (Totals(3, None, 180, at(0), at(1)), "total_cost"),
        (Totals(3, Decimal("0.02468896"), 180, at(23, 59, 59, day=24), at(1)), "start_time"),
        (Totals(3, Decimal("0.02468896"), 180, at(0), at(0, day=26)), "start_time"),
        (Totals(3, Decimal("0.02468896"), 180, at(0), at(1), without_start=1), "start_time"),
    ],
)
def test_one_call_one_unit_of_cost_or_one_second_is_a_mismatch(totals, wrong):
    assert passed(an_export(), totals) == {**ALL_PASSED, wrong: False}


def test_a_duplicate_cdr_id_is_a_mismatch_that_names_it():
    result = Reconciliation(an_export(), TOTALS, COLUMNS, ["id-1", "id-2", "id-3", "id-4"])

    assert [str(check) for check in result.mismatches] == [
        "cdr_id 4, expected 0 (failed: duplicates of id-1, id-2, id-3 and others)"
    ]


def test_a_check_without_its_figure_is_skipped_not_passed():
    export = an_export(num_calls=None, total_cost=None, filter_parameters={})

    result = Reconciliation(export, TOTALS, COLUMNS[:25])

    assert passed(export, TOTALS, columns=COLUMNS[:25]) == dict.fromkeys(ALL_PASSED)
    assert result.has_unchecked
    assert [str(check) for check in result.checks] == [
        "rows 3, expected none (not checked: Flowroute did not report num_calls)",
        "total_cost 0.02468896, expected none (not checked: Flowroute did not report total_cost)",
        "start_time 2019-06-25T00:00:00+00:00/2019-06-25T23:59:59+00:00, expected none (not checked: Flowroute did not "
        "report the window)",
        "cdr_id none, expected 0 (not checked: older files have no column cdr_id)",
    ]


def test_older_files_without_cdr_id_need_no_warning():
    assert not Reconciliation(an_export(), TOTALS, COLUMNS[:25]).has_unchecked


def test_the_checks_are_values_in_json():
    result = Reconciliation(an_export(num_calls=4), TOTALS, COLUMNS)

    kept = json.loads(json.dumps(result.as_json()))
    assert kept["rows"] == {"actual": 3, "expected": 4, "passed": False, "reason": ""}
    assert kept["total_cost"] == {
        "actual": "0.02468896",
        "expected": "0.024689",
        "passed": True,
        "reason": "",
    }
    unknown = Reconciliation(an_export(num_calls=None), TOTALS, COLUMNS).as_json()["rows"]
    assert (unknown["actual"], unknown["expected"], unknown["passed"]) == (3, None, None)
    assert kept["start_time"]["expected"] == "2019-06-25T00:00:00+00:00/2019-06-26T00:00:00+00:00"
    assert kept["cdr_id"] == {"actual": 0, "expected": 0, "passed": True, "reason": ""}
    assert TOTALS.as_json() == {
        "rows": 3,
        "total_cost": "0.02468896",
        "billed_minutes": "3.00",
        "first_start": "2019-06-25T00:00:00+00:00",
        "last_start": "2019-06-25T23:59:59+00:00",
        "without_start": 0,
        "fees": dict.fromkeys(FEE_COLUMNS, "0.00000000"),
    }


def test_an_empty_file_matches_an_export_without_calls():
    export = an_export(num_calls=0, total_cost="0.0")

    assert passed(export, Totals()) == ALL_PASSED
    assert Totals().as_json()["first_start"] is None


@pytest.mark.parametrize(
    ("summed", "reported", "same"),
    [
        ("34.3213004", "34.321300", True),
        ("34.3213005", "34.321300", True),  # half to even, or rounded down
        ("34.3213005", "34.321301", True),  # half up
        ("34.3213009", "34.321300", True),  # rounded down
        ("34.3213004", "34.321301", False),
        ("34.3213000", "34.321301", False),
        ("34.3213", "34.32", True),
        ("34.3313", "34.32", False),
        ("34.3213", "34.3213000000000012", True),  # noise of a binary fraction
        ("34.3213", "34.3213", True),
        ("0", "0.0", True),
        ("0.04", "0.0", False),  # one decimal, but zero
        ("0.0000004", "0.0", True),
        ("0", "0", True),
        ("12", "12", True),
        ("12.4", "12", True),
        ("13", "12", False),
        ("1200", "1.2E+3", True),
        ("-0.5", "-0.500000", True),
    ],
)
def test_costs_are_compared_at_flowroutes_precision(summed, reported, same):
    assert same_cost(Decimal(summed), Decimal(reported)) is same


@given(parts=st.lists(st.decimals(0, 1000, places=8), min_size=1, max_size=20), off=st.integers(1, 10**6))
def test_a_cost_off_by_a_millionth_or_more_never_passes(parts, off):
    total = sum(parts, Decimal(0))
    reported = total.quantize(Decimal("0.000001"))

    assert same_cost(total, reported)
    assert not same_cost(total + Decimal(off + 1).scaleb(-6), reported)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 86399)), max_size=12), st.integers(0, 12))
def test_totals_of_parts_add_up_to_those_of_the_file(rows, middle):
    def totals(some: list[tuple[int, int]]) -> Totals:
        starts = [at(second // 3600, second % 3600 // 60, second % 60) for _, second in some]
        return Totals(
            len(some),
            sum((Decimal(cost) for cost, _ in some), Decimal(0)),
            sum(second for _, second in some),
            min(starts, default=None),
            max(starts, default=None),
        )

    assert totals(rows[:middle]) + totals(rows[middle:]) == totals(rows)


LANDED = Totals(3, Decimal("0.02468896"), 183, fees=dict.fromkeys(FEE_COLUMNS, Decimal("0.0000004")))
FEES_REPORTED = dict.fromkeys(FEE_COLUMNS, "0.0")


@pytest.mark.parametrize(
    ("reported", "differing"),
    [
        ({}, set()),
        ({"num_calls": 4}, {"num_calls"}),
        ({"num_calls": None}, {"num_calls"}),
        ({"total_cost": "0.024690"}, {"total_cost"}),
        ({"total_cost": None}, {"total_cost"}),
        ({"billed_minutes": 3.05}, set()),
        ({"billed_minutes": 3.06}, {"billed_minutes"}),
        ({"billed_minutes": None, "ccrf": None}, set()),
        *(({fee: "0.000001"}, {fee}) for fee in FEE_COLUMNS),
    ],
)
def test_figures_of_a_new_export_are_compared_with_landed_totals(reported, differing):
    assert set(differing_figures(an_export(**{**FEES_REPORTED, **reported}), LANDED)) == differing


def test_a_figure_that_the_landed_file_lacks_is_not_compared():
    landed = Totals(3, Decimal("0.02468896"), None, fees=dict.fromkeys(FEE_COLUMNS))

    assert differing_figures(an_export(billed_minutes=3, **dict.fromkeys(FEE_COLUMNS, "1.0")), landed) == {}
    assert differing_figures(an_export(), Totals(3, None)) == {"total_cost": (None, Decimal("0.024689"))}


def test_the_sum_of_a_missing_column_stays_unknown():
    unknown = Totals(1, None, None) + Totals(1, None, None)

    assert (unknown.total_cost, unknown.billed_minutes) == (None, None)
    assert unknown.as_json()["total_cost"] is None


@given(
    rows=st.integers(0, 10**9),
    cost=st.none() | st.decimals(0, 10**9, places=8),
    seconds=st.none() | st.integers(-(10**9), 10**9),
    start=st.none() | st.datetimes(timezones=st.just(UTC)),
    fees=st.dictionaries(st.sampled_from(sorted(FEE_COLUMNS)), st.none() | st.decimals(0, 10**9, places=8)),
)
def test_totals_survive_json(rows, cost, seconds, start, fees):
    totals = Totals(rows, cost, seconds, start, start, without_start=rows // 2, fees=fees)

    assert Totals.from_json(json.loads(json.dumps(totals.as_json()))) == totals


def test_totals_of_an_earlier_version_have_no_fees():
    values = TOTALS.as_json()
    del values["fees"], values["without_start"]

    assert Totals.from_json(values) == replace(TOTALS, fees={})


def test_fees_add_up_and_a_missing_column_stays_unknown():
    part = Totals(fees={"ccrf": Decimal("0.5"), "usf_fees": None})

    assert (part + part).fees == {"ccrf": Decimal(1), "usf_fees": None}
    assert (part + Totals()).fees == part.fees
    assert (part + Totals(fees={})).fees == {}
