"""Ids that stand twice are found, however many there are, and none that does not."""

from __future__ import annotations

import random
import sys
from array import array

import pytest

from airflow_provider_flowroute.landing import duplicates
from airflow_provider_flowroute.landing.duplicates import HashedIds, Ids


@pytest.fixture(params=["numpy", "standard library"], autouse=True)
def _with_or_without_numpy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "standard library":
        monkeypatch.setitem(sys.modules, "numpy", None)


def hashed(*ids: str, hashes: list[int] | None = None) -> HashedIds:
    width = max(map(len, ids))
    numbers = array("Q", hashes or [hash(each) & (2**64 - 1) for each in ids])
    return HashedIds(numbers.tobytes(), b"".join(each.encode().ljust(width, b"\0") for each in ids), width)


def repeated(*parts: HashedIds) -> list[str]:
    with Ids() as ids:
        for part in parts:
            ids.add(part)
        return ids.repeated()


def test_no_ids_and_different_ids_are_no_repetition():
    assert repeated() == []
    assert repeated(hashed("a"), hashed("b", "ab", "abc")) == []


def test_an_id_that_comes_again_in_another_part_of_another_width_is_found():
    assert repeated(hashed("a", "b"), hashed("a long one", "b"), hashed("c", "b")) == ["b"]


def test_different_ids_that_share_a_hash_are_different():
    assert repeated(hashed("a", "b", hashes=[7, 7]), hashed("c", hashes=[7])) == []
    assert repeated(hashed("a", "b", hashes=[7, 7]), hashed("b", hashes=[7])) == ["b"]


def test_they_are_found_when_they_no_longer_fit_into_memory(monkeypatch):
    monkeypatch.setattr(duplicates, "_AT_ONCE", 64)
    monkeypatch.setattr(duplicates, "_IN_MEMORY", 64)
    ids = [f"{number:08d}" for number in range(1000)]
    twice = ids[3::250]
    shuffled = [*ids, *twice]
    random.Random(1).shuffle(shuffled)

    found = repeated(*(hashed(*shuffled[begin : begin + 7]) for begin in range(0, len(shuffled), 7)))

    assert sorted(found) == twice


@pytest.mark.parametrize("at_once", [1, 4, 1 << 19])
def test_they_are_found_whatever_their_hashes_are(monkeypatch, at_once):
    monkeypatch.setattr(duplicates, "_AT_ONCE", at_once)
    bucket = 1 << (64 - duplicates._BUCKET_BITS)
    hashes = [0, 1, bucket - 1, bucket, bucket + 1, 2**63, 2**64 - bucket, 2**64 - 1]
    ids = [str(number) for number in range(len(hashes))]

    found = repeated(hashed(*ids, hashes=hashes), hashed("once", hashes=[2]), hashed(*ids, hashes=hashes))

    assert found == ids


def test_a_file_in_which_everything_stands_twice_names_some_of_it(monkeypatch):
    monkeypatch.setattr(duplicates, "_MOST_SUSPECTS", 10)
    ids = [str(number) for number in range(1000)]

    assert 10 <= len(repeated(hashed(*ids), hashed(*ids))) <= 20
