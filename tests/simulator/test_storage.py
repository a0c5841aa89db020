"""The storage gives a file to whoever holds a good link, as S3 does."""

from __future__ import annotations

import gzip
import re
from datetime import datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from airflow_provider_flowroute.simulator import FlowrouteSimulator
from tests.simulator.user import User


def error(response: requests.Response) -> tuple[int, str]:
    assert response.headers["Content-Type"].startswith("application/xml")
    code = re.search("<Code>(.*?)</Code>", response.text)
    assert code
    return response.status_code, code.group(1)


def test_a_link_looks_like_a_presigned_one_and_leads_to_the_other_port(user: User) -> None:
    link = urlsplit(user.link(user.create()))
    assert f"{link.scheme}://{link.netloc}" == user.flowroute.download_origin
    assert user.flowroute.download_origin != user.flowroute.url
    assert re.fullmatch(r"/flowroute-cdrexports/38647/\d{4}/\d{1,2}/\d{1,2}/[0-9a-f]{32}\.gz", link.path)
    query = parse_qs(link.query)
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert query["X-Amz-Expires"] == ["259200"]
    assert query["X-Amz-SignedHeaders"] == ["host"]
    assert re.fullmatch("[0-9a-f]{64}", query["X-Amz-Signature"][0])
    assert query.keys() > {"X-Amz-Credential", "X-Amz-Date", "X-Amz-Security-Token"}


def test_a_link_gives_the_file_whole_and_says_how_long_it_is(user: User) -> None:
    export_id = user.create()
    response = user.get(user.link(export_id))
    assert response.status_code == 200
    assert gzip.decompress(response.content) == user.flowroute.csv(export_id)
    assert response.headers["Content-Length"] == str(len(response.content))
    assert response.headers["Content-Type"] == "application/x-gzip"
    assert response.headers["Accept-Ranges"] == "bytes"
    assert "Content-Encoding" not in response.headers
    assert user.flowroute.exports[0].downloads == 1


def test_every_look_at_an_export_makes_a_new_link_and_all_of_them_work(user: User) -> None:
    export_id = user.create()
    links = {user.link(export_id) for _ in range(3)}
    assert len(links) == 3
    assert {user.get(link).status_code for link in links} == {200}


def test_the_accounts_keys_must_not_come_along(user: User) -> None:
    link = user.link(user.create())
    assert error(user.session.get(link, timeout=10)) == (400, "InvalidArgument")
    assert user.flowroute.requests[-1].has_authorization
    assert user.flowroute.exports[0].downloads == 0


def test_a_link_that_was_tampered_with_opens_nothing(user: User) -> None:
    link = user.link(user.create())
    later = re.sub("X-Amz-Expires=[0-9]+", "X-Amz-Expires=604800", link)
    for bad in (later, link[:-1] + ("0" if link[-1] != "0" else "1"), link.partition("?")[0], link + "é"):
        assert error(user.get(bad)) == (403, "AccessDenied")


def test_an_unknown_key_is_not_found_and_only_get_is_served(user: User) -> None:
    link = user.link(user.create())
    assert error(user.get(link.replace(".gz", ".zip"))) == (404, "NoSuchKey")
    assert error(user.bare.put(link, timeout=10)) == (405, "MethodNotAllowed")
    assert user.bare.head(link, timeout=10).status_code == 405


def test_links_expire_while_the_export_stays_completed() -> None:
    with FlowrouteSimulator(link_seconds=0) as flowroute, User(flowroute) as user:
        attributes = user.status(user.create())
        response = user.get(attributes["download_url"])
        assert error(response) == (403, "AccessDenied")
        assert "Request has expired" in response.text
        assert attributes["status"] == "completed"


def test_expires_at_is_three_days_after_completion(user: User) -> None:
    attributes = user.status(user.create())
    lasts = datetime.fromisoformat(attributes["expires_at"]) - datetime.fromisoformat(
        attributes["requested_at"]
    )
    assert lasts == timedelta(days=3)


@pytest.mark.parametrize(
    ("asked", "begin", "end"),
    [
        ("bytes=0-99", 0, 100),
        ("bytes=100-", 100, None),
        ("bytes=-100", -100, None),
        ("bytes=50-999999999", 50, None),
    ],
)
def test_a_part_can_be_asked_for(user: User, asked: str, begin: int, end: int | None) -> None:
    link = user.link(user.create())
    whole = user.get(link).content
    response = user.get(link, Range=asked)
    first = begin % len(whole)
    last = (end or len(whole)) - 1
    assert response.status_code == 206
    assert response.content == whole[begin:end]
    assert response.headers["Content-Range"] == f"bytes {first}-{last}/{len(whole)}"


def test_a_part_that_is_not_there_cannot_be_satisfied(user: User) -> None:
    link = user.link(user.create())
    size = len(user.get(link).content)
    for asked in (f"bytes={size}-", "bytes=-0"):
        response = user.get(link, Range=asked)
        assert error(response) == (416, "InvalidRange")
        assert response.headers["Content-Range"] == f"bytes */{size}"


@pytest.mark.parametrize("asked", ["bytes=5-1", "bytes=-", "lines=1-2", "bytes=0-1,5-6"])
def test_a_range_that_makes_no_sense_gives_the_whole(user: User, asked: str) -> None:
    link = user.link(user.create())
    assert user.get(link, Range=asked).status_code == 200


def test_a_part_is_given_only_if_the_file_is_still_the_same(user: User) -> None:
    link = user.link(user.create())
    headers = user.get(link).headers
    for same in (headers["ETag"], headers["Last-Modified"]):
        assert user.get(link, Range="bytes=10-", **{"If-Range": same}).status_code == 206
    assert user.get(link, Range="bytes=10-", **{"If-Range": '"another"'}).status_code == 200


def test_a_large_file_arrives_whole(user: User) -> None:
    with FlowrouteSimulator(calls_per_day=5000) as flowroute, User(flowroute) as someone:
        export_id = someone.create()
        content = someone.get(someone.link(export_id)).content
        assert len(content) > 4 * 64 * 1024
        assert gzip.decompress(content) == flowroute.csv(export_id)
