"""The control endpoints give HTTP clients the same functions as the Python API."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.simulator.user import DAY, User
from tests.support import wait_until


def test_health_reports_both_addresses(user: User) -> None:
    flowroute = user.flowroute
    assert user.control("GET", "/health").json() == {
        "status": "ok",
        "url": flowroute.url,
        "downloads": flowroute.download_origin,
    }


def test_exports_report_reads_and_downloads(user: User) -> None:
    export_id = user.create(direction="inbound")
    user.get(user.link(export_id))
    user.status(export_id)
    [entry] = user.control("GET", "/exports").json()
    [export] = user.flowroute.exports
    assert entry == {
        "id": export_id,
        "status": "completed",
        "start": "2026-03-02T00:00:00+00:00",
        "end": "2026-03-03T00:00:00+00:00",
        "filter_parameters": {
            "start_call_start_time": DAY[0],
            "start_call_end_time": DAY[1],
            "direction": "inbound",
        },
        "callback_url": None,
        "requested_at": export.requested_at.isoformat(),
        "num_calls": export.num_calls,
        "total_cost": str(export.total_cost),
        "reads": 2,
        "downloads": 1,
    }


def test_recorded_requests_do_not_contain_the_keys(user: User) -> None:
    user.get(user.link(user.create()))
    user.session.get(user.exports_url, params={"limit": 5}, timeout=10)
    user.get(f"{user.flowroute.url}/nowhere")
    records = user.control("GET", "/requests").json()
    seen = [
        (request["on"], request["method"], request["status"], request["has_authorization"])
        for request in records
    ]
    assert seen == [
        ("create", "POST", 201, True),
        ("status", "GET", 200, True),
        ("download", "GET", 200, False),
        ("list", "GET", 200, True),
        ("other", "GET", 404, False),
    ]
    assert (records[3]["path"], records[3]["query"]) == ("/v2/cdrs/exports", {"limit": "5"})
    assert records[0]["headers"]["authorization"] == "***"
    assert records == [request.as_json() for request in user.flowroute.requests]


def test_faults_can_be_added_listed_and_cleared(user: User) -> None:
    fault = {"fault": "rate_limit", "times": 2, "on": "list", "retry_after": 1}
    assert user.control("POST", "/faults", fault).status_code == 201
    assert user.control("GET", "/faults").json() == [fault | {"on": ["list"]}]
    assert user.session.get(user.exports_url, timeout=10).status_code == 429
    assert user.control("GET", "/faults").json()[0]["times"] == 1
    assert user.control("DELETE", "/faults").json() == []
    assert user.session.get(user.exports_url, timeout=10).status_code == 200


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"fault": "no_such_fault"}, "Known faults:"),
        ({"fault": ["lost_reply"]}, "Known faults:"),
        ({"fault": "rate_limit", "name": 1}, "no option 'name'"),
        ({"fault": "rate_limit", "on": 5}, "cannot be on 5"),
        ({}, "The fault has no name"),
        ([], "Send a JSON object"),
        (None, "Send a JSON object"),
    ],
)
def test_invalid_fault_is_refused_with_the_valid_ones(user: User, body: Any, message: str) -> None:
    reply = user.control("POST", "/faults", body)
    assert reply.status_code == 400
    assert message in reply.json()["error"]


@pytest.mark.flowroute(processing_seconds=float("inf"))
def test_export_can_be_completed_or_failed_by_request(user: User) -> None:
    done, failed = user.create(), user.create()
    assert user.control("POST", f"/exports/{done}/complete").status_code == 200
    assert user.control("POST", f"/exports/{failed}/fail").status_code == 200
    assert [user.status(export_id)["status"] for export_id in (done, failed)] == ["completed", "failed"]
    again = user.control("POST", f"/exports/{done}/fail")
    assert again.status_code == 400
    assert f"Export {done} is completed: only a processing export can be ended." in again.json()["error"]
    unknown = user.control("POST", "/exports/1/fail")
    assert unknown.status_code == 404
    assert unknown.json()["error"] == f"The account has no export '1'.\nIts exports: {done}, {failed}."


def test_reset_deletes_everything_and_reuses_no_id(user: User) -> None:
    old = user.create()
    user.flowroute.add_fault("forbidden", times=None)
    assert user.control("POST", "/reset").json() == {"status": "ok"}
    flowroute = user.flowroute
    assert (flowroute.exports, flowroute.requests, flowroute.callbacks, flowroute.faults) == ([], [], [], [])
    assert user.create() != old
    assert user.session.get(f"{user.exports_url}/{old}", timeout=10).status_code == 404


def test_held_requests_can_be_listed_and_released(user: User) -> None:
    user.control("POST", "/faults", {"fault": "held_request", "on": "create", "after": True})
    with ThreadPoolExecutor() as threads:
        created = threads.submit(user.create)
        wait_until(lambda: user.control("GET", "/held").json())
        [held] = user.control("GET", "/held").json()
        assert (held["on"], held["method"], held["status"]) == ("create", "POST", None)
        assert user.control("POST", "/release").json() == {"status": "ok"}
        assert created.result() == user.flowroute.exports[0].id
