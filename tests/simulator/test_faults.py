"""The account simulates the requested faults, as often as requested."""

from __future__ import annotations

import gzip
import itertools
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import requests

from airflow_provider_flowroute.simulator import FlowrouteSimulator
from tests.simulator.user import DAY, MEDIA_TYPE, User
from tests.support import wait_until

WINDOW = {"start_call_start_time": DAY[0], "start_call_end_time": DAY[1]}


def test_lost_reply_still_creates_an_export(user: User) -> None:
    user.flowroute.add_fault("lost_reply", on="create")
    with pytest.raises(requests.ConnectionError):
        user.create()
    assert [(request.on, request.status) for request in user.flowroute.requests] == [("create", None)]
    assert [export.id for export in user.flowroute.exports] == ["38647"]
    assert user.create() == "38648"


def test_dropped_connection_creates_no_export(user: User) -> None:
    user.flowroute.add_fault("dropped_connection")
    with pytest.raises(requests.ConnectionError):
        user.create()
    assert user.flowroute.exports == []
    assert user.flowroute.requests[0].status is None


@pytest.mark.parametrize(("options", "header"), [({}, None), ({"retry_after": 7}, "7")])
def test_rate_limit_has_retry_after_only_if_set(
    user: User, options: dict[str, Any], header: str | None
) -> None:
    user.flowroute.add_fault("rate_limit", times=2, **options)
    replies = [user.session.get(user.exports_url, timeout=10) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [429, 429, 200]
    assert replies[0].headers.get("Retry-After") == header
    assert replies[0].json()["errors"][0]["title"] == "Too Many Requests"


def test_server_error_is_before_or_after_the_export_is_created(user: User) -> None:
    user.flowroute.add_fault("server_error", status=503, detail="Down for maintenance.")
    with pytest.raises(AssertionError, match=r"Down for maintenance\."):
        user.create()
    assert user.flowroute.exports == []
    user.flowroute.add_fault("server_error", after=True, status=599)
    with pytest.raises(AssertionError, match="599"):
        user.create()
    assert len(user.flowroute.exports) == 1


def test_slow_reply_is_late_but_correct(user: User) -> None:
    export_id = user.create()
    link = user.link(export_id)
    user.flowroute.add_fault("slow_reply", seconds=0.2)
    user.flowroute.add_fault("slow_reply", on="download", seconds=0.2)
    for succeeds in (
        lambda: user.status(export_id)["status"] == "completed",
        lambda: user.get(link).status_code == 200,
    ):
        start = time.monotonic()
        assert succeeds()
        assert time.monotonic() - start >= 0.2


@pytest.mark.parametrize(("name", "status"), [("unauthorized", 401), ("forbidden", 403)])
def test_valid_keys_can_be_refused(user: User, name: str, status: int) -> None:
    user.flowroute.add_fault(name, detail="This key has expired.")
    reply = user.session.get(user.exports_url, timeout=10)
    assert (reply.status_code, reply.json()["errors"][0]["detail"]) == (status, "This key has expired.")


def test_html_reply_creates_no_export(user: User) -> None:
    user.flowroute.add_fault("html_reply")
    reply = user.post({})
    assert reply.status_code == 200
    assert reply.headers["Content-Type"].startswith("text/html")
    assert user.flowroute.exports == []


def test_wrong_shape_returns_other_json(user: User) -> None:
    export_id = user.create()
    user.flowroute.add_fault("wrong_shape", on="status")
    reply = user.session.get(f"{user.exports_url}/{export_id}", timeout=10)
    assert (reply.status_code, reply.headers["Content-Type"]) == (200, MEDIA_TYPE)
    assert isinstance(reply.json(), list)


def test_list_can_be_unsorted(user: User) -> None:
    ids = [int(user.create(DAY[0], DAY[0])) for _ in range(5)]
    user.flowroute.add_fault("unsorted_list", times=2)
    pages = [listed_ids(user, limit=3, offset=offset) for offset in (0, 3)]
    assert sorted(pages[0] + pages[1]) == ids
    assert pages[0] + pages[1] not in (ids, ids[::-1])
    assert listed_ids(user) == ids[::-1]


def test_list_can_lack_the_newest_exports(user: User) -> None:
    ids = [int(user.create(DAY[0], DAY[0])) for _ in range(4)]
    user.flowroute.add_fault("incomplete_list")
    user.flowroute.add_fault("incomplete_list", count=3)
    assert [listed_ids(user) for _ in range(3)] == [ids[2::-1], ids[:1], ids[::-1]]
    assert user.status(str(ids[3]))["status"] == "completed"


def listed_ids(user: User, **query: int) -> list[int]:
    entries = user.session.get(user.exports_url, params=query, timeout=10).json()["data"]
    return [entry["data"]["id"] for entry in entries]


@pytest.mark.parametrize(
    ("name", "options", "status"),
    [
        ("failed_export", {}, "failed"),
        ("unknown_status", {}, "archived"),
        ("unknown_status", {"status": "?"}, "?"),
    ],
)
def test_next_export_can_end_with_another_status(
    user: User, name: str, options: dict[str, Any], status: str
) -> None:
    user.flowroute.add_fault(name, **options)
    changed, normal = user.create(), user.create()
    attributes = user.status(changed)
    assert (attributes["status"], attributes["num_calls"], attributes["download_url"]) == (status, None, None)
    assert user.status(normal)["status"] == "completed"


def test_export_can_report_totals_that_differ_from_its_file(user: User) -> None:
    user.flowroute.add_fault("wrong_num_calls", delta=-2)
    user.flowroute.add_fault("wrong_total_cost", delta="0.010000")
    wrong, right = user.status(user.create()), user.status(user.create())
    assert wrong["num_calls"] == right["num_calls"] - 2
    assert Decimal(wrong["total_cost"]) == Decimal(right["total_cost"]) + Decimal("0.010000")
    assert [export.num_calls for export in user.flowroute.exports] == [right["num_calls"]] * 2
    assert user.flowroute.exports[0].total_cost == user.flowroute.exports[1].total_cost


@pytest.mark.parametrize(
    ("options", "share"),
    [({}, 0.5), ({"fraction": 0.25}, 0.25), ({"after_bytes": 100}, None), ({"fraction": 0}, 0.0)],
)
def test_cut_download_can_be_resumed_with_a_range_request(
    user: User, options: dict[str, Any], share: float | None
) -> None:
    export_id = user.create()
    link = user.link(export_id)
    complete = user.get(link).content
    user.flowroute.add_fault("cut_download", **options)
    received: list[int] = []  # unlike a bytearray, a list keeps the bytes before the error
    with user.bare.get(link, stream=True, timeout=10) as response:
        assert response.headers["Content-Length"] == str(len(complete))
        with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
            received.extend(itertools.chain.from_iterable(response.iter_content(10)))
    sent = 100 if share is None else int(len(complete) * share)
    assert sent - 10 < len(received) <= sent
    rest = user.get(link, Range=f"bytes={len(received)}-", **{"If-Range": response.headers["ETag"]})
    assert rest.status_code == 206
    assert bytes(received) + rest.content == complete
    assert user.flowroute.requests[-2].status == 200


def test_truncated_object_ends_early_with_matching_headers(user: User) -> None:
    link = user.link(user.create())
    user.flowroute.add_fault("truncated_gzip", fraction=0.9)
    broken, complete = user.get(link), user.get(link)
    assert len(broken.content) == int(len(complete.content) * 0.9) == int(broken.headers["Content-Length"])
    assert broken.headers["ETag"] != complete.headers["ETag"]
    with pytest.raises(EOFError):
        gzip.decompress(broken.content)


def test_corrupt_object_has_a_wrong_checksum(user: User) -> None:
    link = user.link(user.create())
    user.flowroute.add_fault("corrupt_gzip")
    broken = user.get(link).content
    with pytest.raises((gzip.BadGzipFile, zlib.error)):
        gzip.decompress(broken)
    assert gzip.decompress(user.get(link).content)


def test_expired_link_stays_expired_and_a_new_link_works(user: User) -> None:
    export_id = user.create()
    old = user.link(export_id)
    user.flowroute.add_fault("expired_link")
    for _ in range(2):
        reply = user.get(old)
        assert reply.status_code == 403
        assert "<Message>Request has expired</Message>" in reply.text
    assert user.get(user.link(export_id)).status_code == 200


@pytest.mark.parametrize(("options", "share"), [({}, 1), ({"fraction": 0.5}, 0.5)])
def test_download_without_a_length_can_end_early(user: User, options: dict[str, Any], share: float) -> None:
    link = user.link(user.create())
    complete = user.get(link).content
    user.flowroute.add_fault("no_content_length", **options)
    reply = user.get(link)
    assert "Content-Length" not in reply.headers
    assert "Transfer-Encoding" not in reply.headers
    assert reply.content == complete[: int(len(complete) * share)]


def test_download_can_fail_like_any_request(user: User) -> None:
    link = user.link(user.create())
    user.flowroute.add_fault("server_error", on="download", status=503, after=True)
    user.flowroute.add_fault("forbidden", on="download")
    assert "<Code>SlowDown</Code>" in user.get(link).text
    assert user.get(link).status_code == 403
    user.flowroute.add_fault("dropped_connection", on="download")
    with pytest.raises(requests.ConnectionError):
        user.get(link)
    assert user.get(link).status_code == 200


def test_faults_apply_in_order_to_matching_requests(user: User) -> None:
    user.flowroute.add_fault("rate_limit", on="status", times=1)
    user.flowroute.add_fault("forbidden", on="status", times=1)
    export_id = user.create()
    url = f"{user.exports_url}/{export_id}"
    assert [user.session.get(url, timeout=10).status_code for _ in range(3)] == [429, 403, 200]


def test_fault_without_times_lasts_until_cleared(user: User) -> None:
    user.flowroute.add_fault("forbidden", times=None)
    assert {user.session.get(user.exports_url, timeout=10).status_code for _ in range(5)} == {403}
    user.flowroute.clear_faults()
    assert user.session.get(user.exports_url, timeout=10).status_code == 200


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("no_such_fault", {}, "no fault 'no_such_fault'.\nKnown faults: corrupt_gzip, cut_download,"),
        ("lost_reply", {"on": "download"}, "It can be on: create, status, list."),
        ("failed_export", {"on": "status"}, "It can be on: create."),
        ("rate_limit", {"seconds": 1}, "no option 'seconds'.\nIts options: retry_after."),
        ("corrupt_gzip", {"fraction": 0.5}, "Its options: none."),
        ("rate_limit", {"times": 0}, "invalid times: 0.\nUse a whole number of 1 or more, or null."),
        (
            "rate_limit",
            {"retry_after": "soon"},
            "invalid retry_after: 'soon'.\nUse a number of seconds, or null.",
        ),
        ("server_error", {"status": 404}, "invalid status: 404.\nUse an HTTP status from 500 to 599."),
        ("server_error", {"after": 1}, "invalid after: 1.\nUse true or false."),
        ("cut_download", {"fraction": 1}, "invalid fraction: 1.\nUse a number from 0 to below 1."),
        ("cut_download", {"after_bytes": -1}, "invalid after_bytes: -1.\nUse a number of bytes, or null."),
        (
            "no_content_length",
            {"fraction": 2},
            "invalid fraction: 2.\nUse a number from 0 to below 1, or null.",
        ),
        ("wrong_num_calls", {"delta": 0.5}, "invalid delta: 0.5.\nUse a whole number."),
        ("wrong_total_cost", {"delta": "much"}, "invalid delta: 'much'.\nUse an amount in USD"),
        ("wrong_total_cost", {"delta": True}, "invalid delta: True.\nUse an amount in USD"),
        (
            "slow_reply",
            {"seconds": float("inf")},
            "invalid seconds: inf.\nUse a number of seconds below 86400.",
        ),
        ("incomplete_list", {"count": 0}, "invalid count: 0.\nUse a whole number of 1 or more."),
        ("garbled_callback", {"on": "create"}, "It can be on: callback."),
        ("unknown_status", {"status": 5}, "invalid status: 5.\nUse a string."),
    ],
)
def test_invalid_fault_settings_are_refused_with_valid_ones(
    name: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the message is checked below
        FlowrouteSimulator().add_fault(name, **settings)
    assert message in str(error.value)


def test_held_request_is_processed_after_release(user: User) -> None:
    user.flowroute.add_fault("held_request", on="create")
    with ThreadPoolExecutor() as threads:
        created = threads.submit(user.create)
        wait_until(lambda: user.flowroute.held)
        assert [request.on for request in user.flowroute.held] == ["create"]
        assert user.flowroute.exports == []
        user.flowroute.release()
        assert created.result() == user.flowroute.exports[0].id
    assert user.flowroute.held == []


@pytest.mark.parametrize(("after", "exports"), [(False, 0), (True, 1)])
def test_held_request_of_a_disconnected_client(user: User, after: bool, exports: int) -> None:
    """Process it only if it was processed before it was held."""

    user.flowroute.add_fault("held_request", on="create", after=after)
    body = {"data": {"type": "cdrexport", "attributes": {"filter_parameters": WINDOW}}}
    with pytest.raises(requests.ReadTimeout):
        user.session.post(user.exports_url, json=body, headers={"Content-Type": MEDIA_TYPE}, timeout=(5, 0.2))
    wait_until(lambda: not user.flowroute.held)
    assert len(user.flowroute.exports) == exports
    assert [request.status for request in user.flowroute.requests] == [None]


def test_download_can_be_held(user: User) -> None:
    link = user.link(user.create())
    user.flowroute.add_fault("held_request", on="download")
    with ThreadPoolExecutor() as threads:
        response = threads.submit(user.get, link)
        wait_until(lambda: user.flowroute.held)
        user.control("POST", "/release")
        assert response.result().status_code == 200


@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_clock_of_the_account_can_be_ahead_or_behind(user: User, seconds: int) -> None:
    user.flowroute.clock_ahead = seconds
    before = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)
    export_id = user.create()
    reply = user.session.get(f"{user.exports_url}/{export_id}", timeout=10)
    attributes = reply.json()["data"]["attributes"]
    for reported in (
        datetime.fromisoformat(attributes["requested_at"]),
        parsedate_to_datetime(reply.headers["Date"]),
    ):
        assert before <= reported <= before + timedelta(seconds=10)
    assert user.get(attributes["download_url"]).status_code == 200
