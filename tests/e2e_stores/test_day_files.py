"""Day files in an object store: each is complete, old or new, also after a kill in the middle."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
import pytest

from tests.support import connection_json, wait_until
from tests.transfers.calls import CallAccount, a_call, serving_calls

from .proxy import NOTHING

START = datetime(2026, 11, 1, tzinfo=UTC)
DAYS = 12


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[CallAccount]:
    calls = [a_call(f"old-{day}", START + timedelta(days=day)) for day in range(DAYS)]
    with serving_calls(START, START + timedelta(days=DAYS), calls) as account:
        monkeypatch.setenv("AIRFLOW_CONN_FLOWROUTE_DEFAULT", connection_json(account.url))
        yield account


def state_of(store) -> list[str]:
    """Whether each file is old or new."""
    return [
        pq.read_table(io.BytesIO(store.get(key))).column("cdr_id").to_pylist()[0].partition("-")[0]
        for key in sorted(store.keys())
    ]


def test_a_kill_in_the_middle_leaves_whole_files(account, lander, store):
    """The retry completes the landing."""
    if "day" not in store.small:
        pytest.skip("An upload does not name its object.")
    arguments = {"path": store.at("date={date}/day.parquet"), "partition_by": "day"}
    assert lander.land(**arguments) == "landed"
    assert state_of(store) == ["old"] * DAYS
    account.calls = [a_call(f"new-{day}", START + timedelta(days=day)) for day in range(DAYS)]
    store.proxy.hold = store.small.replace("day", "2026-11-06")

    child = lander.start(**arguments)
    wait_until(store.proxy.held.is_set, 60)
    os.kill(child, signal.SIGKILL)

    assert lander.outcome() == ""
    states = state_of(store)
    assert (states[0], states[5], states[-1]) == ("new", "old", "old")
    assert set(states) == {"old", "new"}
    store.proxy.hold = NOTHING
    assert lander.land(**arguments) == "landed"
    assert state_of(store) == ["new"] * DAYS


def test_an_unchanged_window_takes_three_requests_a_file(account, lander, store):
    """And no download."""
    arguments = {
        "path": store.at("date={date}/day.parquet"),
        "partition_by": "day",
        "overwrite": "if_changed",
    }
    assert lander.land(**arguments) == "landed"
    downloads, requests = account.downloads, len(store.proxy.seen)

    assert lander.land(**arguments) == "landed"

    assert account.downloads == downloads == 1
    assert len(store.proxy.seen) - requests <= 3 * DAYS
    assert store.proxy.seen_of("^(PUT|POST) ")[DAYS:] == []


def test_only_the_changed_days_are_uploaded_again(account, lander, store):
    arguments = {
        "path": store.at("date={date}/day.parquet"),
        "partition_by": "day",
        "overwrite": "if_changed",
    }
    assert lander.land(**arguments) == "landed"
    account.calls.append(a_call("late", START + timedelta(days=3, hours=5)))
    before = len(store.proxy.seen_of("^(PUT|POST) "))

    assert lander.land(**arguments) == "landed"

    [upload] = store.proxy.seen_of("^(PUT|POST) ")[before:]
    assert "2026-11-04" in upload or "day" not in store.small
