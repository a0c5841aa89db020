"""The account misbehaves as asked, as often as asked, and not otherwise."""

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
from tests.simulator.user import DAY, MEDIA_TYPE, User, until

WINDOW = {"start_call_start_time": DAY[0], "start_call_end_time": DAY[1]}


def test_a_lost_reply_leaves_an_export_nobody_was_told_of(user: User) -> None:
    user.flowroute.add_fault("lost_reply", on="create")
    with pytest.raises(requests.ConnectionError):
        user.create()
    assert [(request.on, request.status) for request in user.flowroute.requests] == [("create", None)]
    assert [export.id for export in user.flowroute.exports] == ["38647"]
    assert user.create() == "38648"


def test_a_dropped_connection_leaves_nothing_behind(user: User) -> None:
    user.flowroute.add_fault("dropped_connection")
    with pytest.raises(requests.ConnectionError):
        user.create()
    assert user.flowroute.exports == []
    assert user.flowroute.requests[0].status is None


@pytest.mark.parametrize(("options", "header"), [({}, None), ({"retry_after": 7}, "7")])
def test_a_rate_limit_says_when_to_come_back_only_if_told_to(
    user: User, options: dict[str, Any], header: str | None
) -> None:
    user.flowroute.add_fault("rate_limit", times=2, **options)
    replies = [user.session.get(user.exports_url, timeout=10) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [429, 429, 200]
    assert replies[0].headers.get("Retry-After") == header
    assert replies[0].json()["errors"][0]["title"] == "Too Many Requests"


def test_a_server_error_comes_before_or_after_the_deed(user: User) -> None:
    user.flowroute.add_fault("server_error", status=503, detail="Down for maintenance.")
    with pytest.raises(AssertionError, match=r"Down for maintenance\."):
        user.create()
    assert user.flowroute.exports == []
    user.flowroute.add_fault("server_error", after=True, status=599)
    with pytest.raises(AssertionError, match="599"):
        user.create()
    assert len(user.flowroute.exports) == 1


def test_a_slow_reply_is_late_but_right(user: User) -> None:
    export_id = user.create()
    link = user.link(export_id)
    user.flowroute.add_fault("slow_reply", seconds=0.2)
    user.flowroute.add_fault("slow_reply", on="download", seconds=0.2)
    for right in (
        lambda: user.status(export_id)["status"] == "completed",
        lambda: user.get(link).status_code == 200,
    ):
        begun = time.monotonic()
        assert right()
        assert time.monotonic() - begun >= 0.2


@pytest.mark.parametrize(("name", "status"), [("unauthorized", 401), ("forbidden", 403)])
def test_good_keys_can_be_turned_away(user: User, name: str, status: int) -> None:
    user.flowroute.add_fault(name, detail="This key has expired.")
    reply = user.session.get(user.exports_url, timeout=10)
    assert (reply.status_code, reply.json()["errors"][0]["detail"]) == (status, "This key has expired.")


def test_a_page_can_come_instead_of_an_answer_and_nothing_is_done(user: User) -> None:
    user.flowroute.add_fault("html_reply")
    reply = user.post({})
    assert reply.status_code == 200
    assert reply.headers["Content-Type"].startswith("text/html")
    assert user.flowroute.exports == []


def test_an_answer_can_have_an_unheard_of_shape(user: User) -> None:
    export_id = user.create()
    user.flowroute.add_fault("wrong_shape", on="status")
    reply = user.session.get(f"{user.exports_url}/{export_id}", timeout=10)
    assert (reply.status_code, reply.headers["Content-Type"]) == (200, MEDIA_TYPE)
    assert isinstance(reply.json(), list)


@pytest.mark.parametrize(
    ("name", "options", "status"),
    [
        ("failed_export", {}, "failed"),
        ("unknown_status", {}, "archived"),
        ("unknown_status", {"status": "?"}, "?"),
    ],
)
def test_the_next_export_can_end_badly(user: User, name: str, options: dict[str, Any], status: str) -> None:
    user.flowroute.add_fault(name, **options)
    bad, good = user.create(), user.create()
    attributes = user.status(bad)
    assert (attributes["status"], attributes["num_calls"], attributes["download_url"]) == (status, None, None)
    assert user.status(good)["status"] == "completed"


def test_an_export_can_report_sums_its_file_does_not_have(user: User) -> None:
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
def test_a_cut_download_breaks_off_and_a_range_request_goes_on(
    user: User, options: dict[str, Any], share: float | None
) -> None:
    export_id = user.create()
    link = user.link(export_id)
    whole = user.get(link).content
    user.flowroute.add_fault("cut_download", **options)
    received: list[int] = []  # unlike a bytearray, a list keeps what came before the break
    with user.bare.get(link, stream=True, timeout=10) as response:
        assert response.headers["Content-Length"] == str(len(whole))
        with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
            received.extend(itertools.chain.from_iterable(response.iter_content(10)))
    sent = 100 if share is None else int(len(whole) * share)
    assert sent - 10 < len(received) <= sent
    rest = user.get(link, Range=f"bytes={len(received)}-", **{"If-Range": response.headers["ETag"]})
    assert rest.status_code == 206
    assert bytes(received) + rest.content == whole
    assert user.flowroute.requests[-2].status == 200


def test_a_truncated_object_ends_early_with_nothing_on_the_wire_to_tell(user: User) -> None:
    link = user.link(user.create())
    user.flowroute.add_fault("truncated_gzip", fraction=0.9)
    broken, whole = user.get(link), user.get(link)
    assert len(broken.content) == int(len(whole.content) * 0.9) == int(broken.headers["Content-Length"])
    assert broken.headers["ETag"] != whole.headers["ETag"]
    with pytest.raises(EOFError):
        gzip.decompress(broken.content)


def test_a_corrupt_object_has_the_wrong_checksum(user: User) -> None:
    link = user.link(user.create())
    user.flowroute.add_fault("corrupt_gzip")
    broken = user.get(link).content
    with pytest.raises((gzip.BadGzipFile, zlib.error)):
        gzip.decompress(broken)
    assert gzip.decompress(user.get(link).content)


def test_an_expired_link_stays_expired_and_a_fresh_one_works(user: User) -> None:
    export_id = user.create()
    old = user.link(export_id)
    user.flowroute.add_fault("expired_link")
    for _ in range(2):
        reply = user.get(old)
        assert reply.status_code == 403
        assert "<Message>Request has expired</Message>" in reply.text
    assert user.get(user.link(export_id)).status_code == 200


@pytest.mark.parametrize(("options", "share"), [({}, 1), ({"fraction": 0.5}, 0.5)])
def test_a_download_without_a_length_may_end_early_unnoticed(
    user: User, options: dict[str, Any], share: float
) -> None:
    link = user.link(user.create())
    whole = user.get(link).content
    user.flowroute.add_fault("no_content_length", **options)
    reply = user.get(link)
    assert "Content-Length" not in reply.headers
    assert "Transfer-Encoding" not in reply.headers
    assert reply.content == whole[: int(len(whole) * share)]


def test_a_download_can_fail_like_any_request(user: User) -> None:
    link = user.link(user.create())
    user.flowroute.add_fault("server_error", on="download", status=503, after=True)
    user.flowroute.add_fault("forbidden", on="download")
    assert "<Code>SlowDown</Code>" in user.get(link).text
    assert user.get(link).status_code == 403
    user.flowroute.add_fault("dropped_connection", on="download")
    with pytest.raises(requests.ConnectionError):
        user.get(link)
    assert user.get(link).status_code == 200


def test_faults_take_their_turns_on_the_requests_they_are_for(user: User) -> None:
    user.flowroute.add_fault("rate_limit", on="status", times=1)
    user.flowroute.add_fault("forbidden", on="status", times=1)
    export_id = user.create()
    url = f"{user.exports_url}/{export_id}"
    assert [user.session.get(url, timeout=10).status_code for _ in range(3)] == [429, 403, 200]


def test_a_fault_without_times_lasts_until_cleared(user: User) -> None:
    user.flowroute.add_fault("forbidden", times=None)
    assert {user.session.get(user.exports_url, timeout=10).status_code for _ in range(5)} == {403}
    user.flowroute.clear_faults()
    assert user.session.get(user.exports_url, timeout=10).status_code == 200


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("gremlin", {}, "no fault 'gremlin'. Known faults: corrupt_gzip, cut_download,"),
        ("lost_reply", {"on": "download"}, "It can be on: create, status, list."),
        ("failed_export", {"on": "status"}, "It can be on: create."),
        ("rate_limit", {"seconds": 1}, "no option 'seconds'. Its options: retry_after."),
        ("corrupt_gzip", {"fraction": 0.5}, "Its options: none."),
        ("rate_limit", {"times": 0}, "a whole number of 1 or more, or null; not 0"),
        ("rate_limit", {"retry_after": "soon"}, "a number of seconds, or null; not 'soon'"),
        ("server_error", {"status": 404}, "an HTTP status from 500 to 599; not 404"),
        ("server_error", {"after": 1}, "true or false; not 1"),
        ("cut_download", {"fraction": 1}, "a number from 0 to below 1; not 1"),
        ("cut_download", {"after_bytes": -1}, "a number of bytes, or null; not -1"),
        ("no_content_length", {"fraction": 2}, "a number from 0 to below 1, or null; not 2"),
        ("wrong_num_calls", {"delta": 0.5}, "a whole number; not 0.5"),
        ("wrong_total_cost", {"delta": "much"}, "not 'much'"),
        ("wrong_total_cost", {"delta": True}, "not True"),
        ("slow_reply", {"seconds": float("inf")}, "a number of seconds below 86400; not inf"),
        ("unknown_status", {"status": 5}, "a text; not 5"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_with_what_would(
    name: str, settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the text is looked at below
        FlowrouteSimulator().add_fault(name, **settings)
    assert says in str(refused.value)


def test_a_held_request_is_carried_out_once_it_is_released(user: User) -> None:
    user.flowroute.add_fault("held_request", on="create")
    with ThreadPoolExecutor() as threads:
        asked = threads.submit(user.create)
        until(lambda: user.flowroute.held)
        assert [request.on for request in user.flowroute.held] == ["create"]
        assert user.flowroute.exports == []
        user.flowroute.release()
        assert asked.result() == user.flowroute.exports[0].id
    assert user.flowroute.held == []


@pytest.mark.parametrize(("after", "exports"), [(False, 0), (True, 1)])
def test_a_held_request_whose_client_hangs_up_is_carried_out_only_if_it_was_already(
    user: User, after: bool, exports: int
) -> None:
    user.flowroute.add_fault("held_request", on="create", after=after)
    body = {"data": {"type": "cdrexport", "attributes": {"filter_parameters": WINDOW}}}
    with pytest.raises(requests.ReadTimeout):
        user.session.post(user.exports_url, json=body, headers={"Content-Type": MEDIA_TYPE}, timeout=(5, 0.2))
    until(lambda: not user.flowroute.held)
    assert len(user.flowroute.exports) == exports
    assert [request.status for request in user.flowroute.requests] == [None]


def test_a_download_can_be_held(user: User) -> None:
    link = user.link(user.create())
    user.flowroute.add_fault("held_request", on="download")
    with ThreadPoolExecutor() as threads:
        asked = threads.submit(user.get, link)
        until(lambda: user.flowroute.held)
        user.control("POST", "/release")
        assert asked.result().status_code == 200


@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_the_accounts_clock_can_differ_from_this_machines(user: User, seconds: int) -> None:
    user.flowroute.clock_ahead = seconds
    before = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)
    export_id = user.create()
    reply = user.session.get(f"{user.exports_url}/{export_id}", timeout=10)
    attributes = reply.json()["data"]["attributes"]
    for told in (
        datetime.fromisoformat(attributes["requested_at"]),
        parsedate_to_datetime(reply.headers["Date"]),
    ):
        assert before <= told <= before + timedelta(seconds=10)
    assert user.get(attributes["download_url"]).status_code == 200
