"""A landing in an object store: readers see the complete old file or the complete new file."""

from __future__ import annotations

import gzip
import os
import signal

import pytest

from airflow_provider_flowroute.landing import FORMATS
from tests.support import wait_until
from tests.transfers.conftest import OLD

from .proxy import NOTHING, Refusal
from .stores import connect


def large(store):
    """A file that is uploaded in parts."""
    return {"rows": store.large_rows, "noise": 1024}


def permanent(store, key="day.csv"):
    """How the outcome of a landing begins that a retry cannot fix."""
    return f"AirflowFailException: Export 1 cannot be written to {store.at(key)}"


def transient(store, key="day.csv"):
    return f"CdrExportLandingError: Export 1 cannot be written to {store.at(key)}"


def assert_unchanged(store, lander):
    assert (store.get("day.csv"), store.keys(), store.unfinished()) == (OLD, ["day.csv"], 0)
    assert list(lander.temporary.iterdir()) == []


@pytest.mark.parametrize("suffix", FORMATS)
def test_landing_replaces_the_object(a_source, lander, store, suffix):
    account = a_source()
    store.put(f"cdrs/day.{suffix}")

    assert lander.land(path=store.at(f"cdrs/day.{suffix}")) == "landed"

    content = store.get(f"cdrs/day.{suffix}")
    if suffix == "parquet":
        assert content[:4] == content[-4:] == b"PAR1"
    else:
        assert (gzip.decompress(content) if suffix == "csv.gz" else content) == account.content
    assert store.keys() == [f"cdrs/day.{suffix}"]
    assert list(lander.temporary.iterdir()) == []


def test_landing_creates_an_object_in_a_new_folder(a_source, lander, store):
    account = a_source()

    assert lander.land(path=store.at("new/folder/day.csv")) == "landed"

    assert store.keys() == ["new/folder/day.csv"]
    assert store.get("new/folder/day.csv") == account.content


def test_large_file_is_uploaded_in_parts_and_appears_as_one(a_source, lander, store):
    account = a_source(**large(store))
    store.put("day.csv")

    assert lander.land(path=store.at("day.csv")) == "landed"

    assert store.get("day.csv") == account.content
    assert len(store.proxy.seen_of(store.any_part)) == store.parts
    assert store.unfinished() == 0


@pytest.mark.parametrize("moment", ["part", "last"])
def test_kill_during_upload_keeps_the_old_object(a_source, lander, store, moment):
    account = a_source(**large(store))
    store.put("day.csv")
    store.proxy.hold = getattr(store, moment)

    child = lander.start(path=store.at("day.csv"))
    wait_until(store.proxy.held.is_set, 60)
    os.kill(child, signal.SIGKILL)

    assert lander.outcome() == ""
    assert (store.get("day.csv"), store.keys()) == (OLD, ["day.csv"])
    store.proxy.hold = NOTHING
    assert lander.land(path=store.at("day.csv")) == "landed"
    assert store.get("day.csv") == account.content


@pytest.mark.parametrize("moment", ["small", "part", "last"])
def test_denied_upload_fails_without_retry(a_source, lander, store, moment):
    a_source(**({} if moment == "small" else large(store)))
    store.put("day.csv")
    store.proxy.refuse, store.proxy.refusal = getattr(store, moment), store.denied

    outcome = lander.land(path=store.at("day.csv"))

    assert outcome.startswith(permanent(store))
    assert_unchanged(store, lander)


def test_missing_bucket_fails_without_retry_and_is_named(a_source, lander, store):
    a_source()
    path = f"{store.scheme}://{store.conn_id}@swamp/day.csv"

    outcome = lander.land(path=path)

    assert outcome.startswith(f"AirflowFailException: Export 1 cannot be written to {path}")
    assert "bucket" in outcome


def test_wrong_key_fails_without_retry(a_source, lander, store, monkeypatch):
    a_source()
    store.put("day.csv")
    connect(monkeypatch, store, store.connection(store.proxy.port, valid=False))
    if not store.checks_keys:
        store.proxy.refuse, store.proxy.refusal = store.small, store.wrong_key

    outcome = lander.land(path=store.at("day.csv"))

    assert outcome.startswith(permanent(store))
    assert_unchanged(store, lander)


@pytest.mark.parametrize("status", [429, 503])
def test_busy_store_is_tried_again(a_source, lander, store, status):
    """By the client library, or by the retry of the task."""
    account = a_source()
    store.put("day.csv")
    store.proxy.refuse, store.proxy.refusal, store.proxy.refusals = store.small, Refusal(status), 1

    outcome = lander.land(path=store.at("day.csv"))

    if status not in store.retried:
        assert outcome.startswith(transient(store))
        assert_unchanged(store, lander)
        outcome = lander.land(path=store.at("day.csv"))
    assert outcome == "landed"
    assert store.get("day.csv") == account.content


def test_mismatch_is_never_uploaded(a_source, lander, store):
    account = a_source()
    account.rows += 1
    store.put("day.csv")

    outcome = lander.land(path=store.at("day.csv"))

    assert outcome.startswith("CdrExportMismatchError")
    assert store.proxy.seen_of("^(PUT|POST) ") == []
    assert_unchanged(store, lander)


def test_overwrite_false_keeps_the_object(a_source, lander, store):
    a_source()
    store.put("day.csv")

    outcome = lander.land(path=store.at("day.csv"), overwrite=False)

    assert "overwrite is False" in outcome
    assert_unchanged(store, lander)
    assert lander.land(path=store.at("day2.csv"), overwrite=False) == "landed"
