"""Rows are compared by call and by value, whatever their order, and in constant memory."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_flowroute.landing import difference
from airflow_provider_flowroute.landing.arrow import schema_of
from airflow_provider_flowroute.landing.difference import KINDS, Difference, Rows, compare
from airflow_provider_flowroute.landing.reconciliation import Totals

COLUMNS = ("direction", "start_time", "total_cost", "billed_duration", "cdr_id", "custom_x_tag")
START = datetime(2026, 11, 1, tzinfo=UTC)


def a_row(cdr_id: str | None = "a", **values: Any) -> dict[str, Any]:
    row = {"direction": "Inbound", "start_time": START, "total_cost": Decimal("0.01"), "billed_duration": 6}
    return {**row, "custom_x_tag": None, "cdr_id": cdr_id, **values}


def rows_of(rows: Sequence[dict[str, Any]], at_once: int = 100, columns: Sequence[str] = COLUMNS) -> Rows:
    """Read rows some at a time, as from a file."""

    def read(names: Sequence[str] | None) -> Iterable[pa.Table]:
        for first in range(0, len(rows), at_once):
            table = pa.Table.from_pylist(list(rows[first : first + at_once]), schema_of(columns))
            yield table if names is None else table.select([name for name in names if name in columns])

    return read


def totals_of(rows: Sequence[dict[str, Any]]) -> Totals:
    cost = sum((row["total_cost"] or Decimal(0) for row in rows), Decimal(0))
    return Totals(len(rows), cost, sum(row["billed_duration"] or 0 for row in rows))


def difference_of(old: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]]) -> Difference:
    return compare(rows_of(old), rows_of(new), totals_of(old), totals_of(new))


def test_the_same_rows_in_another_order_are_no_difference():
    rows = [a_row(f"id-{number}", billed_duration=number) for number in range(500)]

    found = difference_of(rows, random.Random(1).sample(rows, len(rows)))

    assert not found
    assert found.as_json() == {
        "rows": 0,
        "total_cost": "0.00000000",
        "billed_minutes": "0.00",
        "new": 0,
        "gone": 0,
        "changed": 0,
        "cdr_ids": {"new": [], "gone": [], "changed": []},
    }


def test_new_gone_and_changed_calls_are_counted_and_named():
    old = [a_row("same"), a_row("gone"), a_row("changed")]
    new = [
        a_row("new"),
        a_row("changed", total_cost=Decimal("0.03"), billed_duration=12),
        a_row("same"),
        a_row("2"),
    ]

    found = difference_of(old, new)

    assert found
    assert found.as_json() == {
        "rows": 1,
        "total_cost": "0.03000000",
        "billed_minutes": "0.20",
        "new": 2,
        "gone": 1,
        "changed": 1,
        "cdr_ids": {"new": ["new", "2"], "gone": ["gone"], "changed": ["changed"]},
    }
    assert str(found) == "+1 rows, 0.03000000 USD, 0.20 billed minutes; 2 new, 1 gone, 1 changed"


def test_changes_that_cancel_out_in_the_totals_are_found():
    old = [a_row("a", total_cost=Decimal(1)), a_row("b", total_cost=Decimal(2))]
    new = [a_row("a", total_cost=Decimal(2)), a_row("b", total_cost=Decimal(1))]

    found = difference_of(old, new)

    assert (found.rows, found.total_cost, found.counts["changed"]) == (0, Decimal(0), 2)


@pytest.mark.parametrize(
    "values",
    [
        {"direction": "inbound"},
        {"direction": None},
        {"start_time": START + timedelta(microseconds=1)},
        {"start_time": None},
        {"total_cost": Decimal("-0.01")},
        {"total_cost": Decimal("0.01000001")},
        {"total_cost": None},
        {"total_cost": Decimal(0)},
        {"billed_duration": 0},
        {"billed_duration": None},
        {"custom_x_tag": ""},
    ],
)
def test_a_change_of_any_value_is_found(values):
    assert difference_of([a_row()], [a_row(**values)]).counts == {"new": 0, "gone": 0, "changed": 1}


def test_a_value_that_moves_to_another_column_is_a_change():
    found = difference_of([a_row(direction="x", custom_x_tag="y")], [a_row(direction="y", custom_x_tag="x")])

    assert found.counts["changed"] == 1


def test_a_new_column_without_values_is_no_difference():
    old, new = [a_row()], [{**a_row(), "sip_callid": None, "later": None}]

    found = compare(
        rows_of(old), rows_of(new, columns=(*COLUMNS, "sip_callid", "later")), totals_of(old), totals_of(new)
    )
    assert not found
    new[0]["later"] = "a value"
    found = compare(rows_of(old), rows_of(new, columns=(*COLUMNS, "later")), totals_of(old), totals_of(new))
    assert found.counts["changed"] == 1


def test_rows_without_ids_are_compared_as_a_whole():
    old = [a_row(None), a_row(None), a_row(None, billed_duration=1)]
    new = [a_row(None), a_row(None, billed_duration=2)]

    found = difference_of(old, new)

    assert found.counts == {"new": 1, "gone": 2, "changed": 0}
    assert not any(found.cdr_ids.values())


def test_a_row_that_occurs_twice_instead_of_once_is_new():
    found = difference_of([a_row("a"), a_row("b")], [a_row("a"), a_row("a"), a_row("b")])

    assert (found.counts, found.cdr_ids["new"]) == ({"new": 1, "gone": 0, "changed": 0}, ["a"])


def test_at_most_a_thousand_ids_are_listed_and_all_are_counted():
    old = [a_row(f"gone-{number}") for number in range(600)]
    new = [a_row(f"new-{number}") for number in range(700)]

    found = difference_of(old, new)
    both = (found + found).as_json()

    assert {kind: len(ids) for kind, ids in found.as_json()["cdr_ids"].items()} == {
        "new": 700,
        "gone": 300,
        "changed": 0,
    }
    assert (both["new"], both["gone"], both["rows"]) == (1400, 1200, 200)
    assert sum(map(len, both["cdr_ids"].values())) == 1000


def test_the_difference_to_no_rows_is_every_row():
    rows = [a_row("a"), a_row("b")]

    assert difference_of([], rows).counts == {"new": 2, "gone": 0, "changed": 0}
    assert difference_of(rows, []).counts == {"new": 0, "gone": 2, "changed": 0}
    assert not difference_of([], [])


def test_parts_of_a_file_that_is_too_large_are_compared_alike(monkeypatch):
    monkeypatch.setattr(difference, "_COMPARED", 50)
    old = [a_row(f"id-{number}") for number in range(1000)]
    new = [a_row(f"id-{number}", billed_duration=number // 900) for number in range(500, 1100)]

    found = difference_of(old, new)

    assert found.counts == {"new": 100, "gone": 500, "changed": 500}
    assert set(found.cdr_ids["new"]) == {f"id-{number}" for number in range(1000, 1100)}


def test_columns_of_other_readers_are_compared_alike():
    """pyiceberg reads text as large_string."""
    rows = [a_row("a"), a_row("b", custom_x_tag="x")]
    schema = pa.schema(
        [
            (field.name, pa.large_string() if field.type == pa.string() else field.type)
            for field in schema_of(COLUMNS)
        ]
    )

    found = compare(
        rows_of(rows),
        lambda names: [pa.Table.from_pylist(rows, schema).select(names or list(COLUMNS))],
        totals_of(rows),
        totals_of(rows),
    )

    assert not found


a_call = st.builds(
    a_row,
    cdr_id=st.sampled_from(["a", "b", "c", None]),
    billed_duration=st.sampled_from([0, 6, None]),
    total_cost=st.sampled_from([Decimal("0.01"), Decimal("-0.01"), None]),
    custom_x_tag=st.sampled_from(["", "x", None]),
)


@given(st.lists(a_call, max_size=8), st.lists(a_call, max_size=8))
def test_counts_are_those_of_a_slow_comparison(old: list[dict[str, Any]], new: list[dict[str, Any]]):
    before, after = (Counter(tuple(row.items()) for row in rows) for rows in (old, new))
    added, removed = after - before, before - after
    counts = dict.fromkeys(KINDS, 0)
    for key in ["a", "b", "c"]:
        more, less = (
            sum(n for row, n in rows.items() if dict(row)["cdr_id"] == key) for rows in (added, removed)
        )
        counts["changed"] += min(more, less)
        counts["new"] += more - min(more, less)
        counts["gone"] += less - min(more, less)
    counts["new"] += sum(n for row, n in added.items() if dict(row)["cdr_id"] is None)
    counts["gone"] += sum(n for row, n in removed.items() if dict(row)["cdr_id"] is None)

    assert difference_of(old, new).counts == counts
