"""Duplicate IDs are found, however many IDs there are, and no others."""

from __future__ import annotations

import random

import pyarrow as pa

from airflow_provider_flowroute.landing import duplicates
from airflow_provider_flowroute.landing.duplicates import DuplicateFinder, confirm


def a_table(*ids: str | None) -> pa.Table:
    return pa.table({"cdr_id": pa.array(ids, pa.string())})


def find_duplicates(*tables: pa.Table) -> list[str]:
    finder = DuplicateFinder()
    for table in tables:
        finder.add(table)
    return confirm(finder.candidates(), tables)


def test_no_ids_and_different_ids_have_no_duplicates():
    assert find_duplicates() == []
    assert find_duplicates(a_table("a"), a_table("b", "ab", "abc")) == []


def test_a_duplicate_in_another_table_is_found():
    assert find_duplicates(a_table("a", "b"), a_table("a long one", "b"), a_table("c", "b")) == ["b"]


def test_rows_without_an_id_are_no_duplicates():
    assert find_duplicates(a_table(None, None, "a"), a_table(None, "a")) == ["a"]
    assert find_duplicates(pa.table({"direction": ["Inbound", "Inbound"]})) == []


def test_different_ids_that_share_a_hash_are_no_duplicates():
    candidates = {hash("a"), hash("b")}

    assert confirm(candidates, [a_table("a", "b", "c")]) == []
    assert confirm(candidates, [a_table("a", "b"), a_table("b", "c", "c")]) == ["b"]


def test_duplicates_are_found_across_slices_of_the_comparison(monkeypatch):
    monkeypatch.setattr(duplicates, "_COMPARED", 7)
    ids = [f"{number:08d}" for number in range(1000)]
    expected = ids[3::250]
    shuffled = [*ids, *expected]
    random.Random(1).shuffle(shuffled)

    found = find_duplicates(*(a_table(*shuffled[begin : begin + 7]) for begin in range(0, len(shuffled), 7)))

    assert sorted(found) == expected


def test_a_file_of_nothing_but_duplicates_names_some_of_them(monkeypatch):
    monkeypatch.setattr(duplicates, "_MAX_CANDIDATES", 10)
    ids = [str(number) for number in range(1000)]

    assert len(find_duplicates(a_table(*ids), a_table(*ids))) == 10
