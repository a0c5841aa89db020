"""The storage serves a file to any client with a valid link, as S3 does."""

from __future__ import annotations

import gzip
import re
from datetime import datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from tests.simulator.user import User


def error(response: requests.Response) -> tuple[int, str]:
    assert response.headers["Content-Type"].startswith("application/xml")
    code = re.search("<Code>(.*?)</Code>", response.text)
    assert code
    return response.status_code, code.group(1)


def test_link_looks_presigned_and_points_to_the_storage(user: User) -> None:
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


def test_link_gives_the_complete_file_with_its_length(user: User) -> None:
    export_id = user.create()
    response = user.get(user.link(export_id))
    assert response.status_code == 200
    assert gzip.decompress(response.content) == user.flowroute.csv(export_id)
    assert response.headers["Content-Length"] == str(len(response.content))
    assert response.headers["Content-Type"] == "application/x-gzip"
    assert response.headers["Accept-Ranges"] == "bytes"
    assert "Content-Encoding" not in response.headers
    assert user.flowroute.exports[0].downloads == 1


def test_each_status_request_returns_a_new_valid_link(user: User) -> None:
    export_id = user.create()
    links = {user.link(export_id) for _ in range(3)}
    assert len(links) == 3
    assert {user.get(link).status_code for link in links} == {200}


def test_link_refuses_the_keys_of_the_account(user: User) -> None:
    link = user.link(user.create())
    assert error(user.session.get(link, timeout=10)) == (400, "InvalidArgument")
    assert user.flowroute.requests[-1].has_authorization
    assert user.flowroute.exports[0].downloads == 0


def test_modified_link_is_refused(user: User) -> None:
    link = user.link(user.create())
    later = re.sub("X-Amz-Expires=[0-9]+", "X-Amz-Expires=604800", link)
    for modified in (
        later,
        link[:-1] + ("0" if link[-1] != "0" else "1"),
        link.partition("?")[0],
        link + "é",
    ):
        assert error(user.get(modified)) == (403, "AccessDenied")


def test_unknown_key_is_not_found_and_only_get_is_allowed(user: User) -> None:
    link = user.link(user.create())
    assert error(user.get(link.replace(".gz", ".zip"))) == (404, "NoSuchKey")
    assert error(user.bare.put(link, timeout=10)) == (405, "MethodNotAllowed")
    assert user.bare.head(link, timeout=10).status_code == 405


@pytest.mark.flowroute(link_seconds=0)
def test_links_expire_while_the_export_stays_completed(user: User) -> None:
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
    ("range_header", "begin", "end"),
    [
        ("bytes=0-99", 0, 100),
        ("bytes=100-", 100, None),
        ("bytes=-100", -100, None),
        ("bytes=50-999999999", 50, None),
    ],
)
def test_range_request_returns_the_range(user: User, range_header: str, begin: int, end: int | None) -> None:
    link = user.link(user.create())
    complete = user.get(link).content
    response = user.get(link, Range=range_header)
    first = begin % len(complete)
    last = (end or len(complete)) - 1
    assert response.status_code == 206
    assert response.content == complete[begin:end]
    assert response.headers["Content-Range"] == f"bytes {first}-{last}/{len(complete)}"


def test_range_outside_the_file_is_refused(user: User) -> None:
    link = user.link(user.create())
    size = len(user.get(link).content)
    for range_header in (f"bytes={size}-", "bytes=-0"):
        response = user.get(link, Range=range_header)
        assert error(response) == (416, "InvalidRange")
        assert response.headers["Content-Range"] == f"bytes */{size}"


@pytest.mark.parametrize("range_header", ["bytes=5-1", "bytes=-", "lines=1-2", "bytes=0-1,5-6"])
def test_invalid_range_returns_the_complete_file(user: User, range_header: str) -> None:
    link = user.link(user.create())
    assert user.get(link, Range=range_header).status_code == 200


def test_range_is_returned_only_if_the_file_is_unchanged(user: User) -> None:
    link = user.link(user.create())
    headers = user.get(link).headers
    for same in (headers["ETag"], headers["Last-Modified"]):
        assert user.get(link, Range="bytes=10-", **{"If-Range": same}).status_code == 206
    assert user.get(link, Range="bytes=10-", **{"If-Range": '"another"'}).status_code == 200


@pytest.mark.flowroute(calls_per_day=5000)
def test_large_file_arrives_complete(user: User) -> None:
    export_id = user.create()
    content = user.get(user.link(export_id)).content
    assert len(content) > 4 * 64 * 1024
    assert gzip.decompress(content) == user.flowroute.csv(export_id)
