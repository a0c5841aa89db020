"""A DAG run starts once for each export that completes, whichever process is killed in between."""

from __future__ import annotations

from collections import Counter

import pytest
import requests

from tests.e2e.airflow_processes import wait_for
from tests.e2e_events.conftest import REPORT, Account, World
from tests.support import PARAMETERS, client_of, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

#: Seconds between two polls of the watcher that gets no callbacks.
POKE_INTERVAL = 5


def assert_one_event_each(account: Account, *export_ids: str) -> None:
    """Each of these exports has one event and one run."""
    found = Counter(name for name, _ in account.events())
    assert {name: found[name] for name in export_ids} == dict.fromkeys(export_ids, 1)


def report(what: str, seconds: list[float], limit: float) -> None:
    REPORT.add(what, ", ".join(f"{value:.1f}" for value in seconds) + " s", f"{limit:g} s")
    assert max(seconds) <= limit


def test_watcher_starts_a_run_within_its_poke_interval_and_5_s(world: World):
    account = world.by_watcher
    exports, delays = [account.create(callback=False) for _ in range(4)], []
    for export_id in exports:
        completed_at = account.complete(export_id)
        delays.append(account.run_started_at(export_id) - completed_at)

    report("completion to DAG run, by watcher", delays, POKE_INTERVAL + 5)
    assert_one_event_each(account, *exports)


def test_callback_starts_a_run_within_5_s(world: World):
    account = world.by_callback
    exports, delays = [account.create() for _ in range(4)], []
    for export_id in exports:
        completed_at = account.complete(export_id)
        delays.append(account.run_started_at(export_id) - completed_at)

    report("completion to DAG run, by callback", delays, 5)
    assert_one_event_each(account, *exports)
    assert {callback.status for callback in account.flowroute.callbacks} == {200}


def test_callback_before_the_creates_reply_starts_a_run(world: World):
    """The task still waits for the reply to its POST when the export has completed."""
    account, airflow = world.by_callback, world.airflow
    account.flowroute.add_fault("held_request", on="create", after=True)
    airflow.run("dags", "trigger", "create_export")
    wait_for(lambda: account.flowroute.held, "the reply to the create is held")
    export_id = account.flowroute.exports[-1].id
    completed_at = account.complete(export_id)
    started_at = account.run_started_at(export_id)
    assert airflow.run_state("create_export") == "running"
    account.flowroute.release()
    wait_for(lambda: airflow.run_state("create_export") == "success", "the create succeeds")

    report("the same, before the create's reply", [started_at - completed_at], 5)
    assert_one_event_each(account, export_id)
    url = account.flowroute.exports[-1].callback_url
    assert url is not None
    token = url.rpartition("/")[2]
    assert token not in airflow.log("create_export", "create")
    assert token not in (airflow.home / "api-server.log").read_text()


def test_repeated_and_garbled_callbacks_cause_no_second_event(world: World):
    account = world.by_callback
    export_id = account.create()
    for fault in ("duplicate_callback", "retried_callback", "garbled_callback"):
        account.flowroute.add_fault(fault)
    account.complete(export_id)
    account.run_started_at(export_id)
    wait_until(lambda: len(account.flowroute.callbacks) >= 3)
    polls = account.polls()
    for callback in account.flowroute.callbacks:  # replays of all callbacks of this test session
        requests.post(callback.url, callback.body, headers={"Content-Type": "application/json"}, timeout=10)
    wait_until(lambda: account.polls() > polls)
    probe = account.create()  # its event comes after those of the replays
    account.complete(probe)
    account.run_started_at(probe)

    assert_one_event_each(account, *(export.id for export in account.flowroute.exports))


def test_killed_triggerer_neither_repeats_nor_loses_an_event(world: World):
    polled, called = world.by_watcher, world.by_callback
    first, second = polled.create(callback=False), called.create()
    for account, export_id in ((polled, first), (called, second)):
        account.complete(export_id)
        account.run_started_at(export_id)
    world.airflow.kill("triggerer")
    missed = [polled.create(callback=False) for _ in range(2)]
    called_meanwhile = called.create()
    for export_id in missed:
        polled.complete(export_id)
    called.complete(called_meanwhile)
    world.airflow.start_triggerer()
    for export_id in missed:
        polled.run_started_at(export_id, 120)
    called.run_started_at(called_meanwhile, 120)

    for account in (polled, called):
        assert_one_event_each(account, *(export.id for export in account.flowroute.exports))
    REPORT.add("kill -9 of the triggerer: events of 5 exports", "5", "5")


def test_killed_api_server_delays_a_callback_until_its_repetition(world: World):
    account = world.by_callback
    world.airflow.kill("api-server")
    export_id = account.create()
    account.complete(export_id)
    wait_until(lambda: any(callback.status is None for callback in account.flowroute.callbacks))
    world.airflow.start("api-server")
    world.wait_for_api_server()
    account.run_started_at(export_id, 120)

    assert_one_event_each(account, *(export.id for export in account.flowroute.exports))
    REPORT.add("kill -9 of the API server: events of 1 export", "1", "1")


def test_example_dag_lands_whatever_completes(world: World):
    with client_of(world.example) as client:
        exports = [client.create_cdr_export(PARAMETERS) for _ in range(2)]
    for export in exports:
        world.example.complete(export.id)
    files = {f"from-2026-03-02-export-{export.id}.parquet" for export in exports}

    def landed() -> bool:
        return {file.name for file in (world.lake / "on_completion").glob("*")} == files

    wait_for(landed, "the example lands both exports", 150)
    wait_for(
        lambda: world.airflow.run_state("flowroute_on_completion") == "success",
        "the run of the example succeeds",
    )


def test_no_event_has_a_link(world: World):
    rows = world.airflow.query("SELECT extra FROM asset_event")

    assert rows
    assert not any("http" in str(extra) for (extra,) in rows)
