"""Which download links are followed, and that the storage never gets the account's keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from airflow_provider_flowroute.api import presigned_urls
from airflow_provider_flowroute.api.client import DEFAULT_BASE_URL, FlowrouteClient
from airflow_provider_flowroute.api.presigned_urls import is_loopback, validate_download_url
from airflow_provider_flowroute.cdr.export import CdrExport
from airflow_provider_flowroute.exceptions import CdrExportDownloadError
from airflow_provider_flowroute.simulator import FlowrouteSimulator
from tests.support import client_at, client_of, read_file, serving

SIGNED = "flowroute/1.gz?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=5ec2e7"
LOOPBACK_API = "http://127.0.0.1:8080"


def check(link: str, base_url: str = DEFAULT_BASE_URL, hosts: tuple[str, ...] = ()) -> str:
    attributes = {"status": "completed", "download_url": link}
    return validate_download_url(
        CdrExport.from_resource({"id": "38647", "attributes": attributes}), base_url, hosts
    )


@pytest.mark.parametrize("scheme", ["https", "HTTPS"])
@pytest.mark.parametrize(
    "host",
    [
        "s3.amazonaws.com",
        "S3.AmazonAWS.com",
        "s3.us-west-2.amazonaws.com",
        "s3-us-west-2.amazonaws.com",
        "cdrs.s3.amazonaws.com",
        "cdrs.s3.us-west-2.amazonaws.com",
        "cdrs.s3-us-west-2.amazonaws.com",
        "my.cdrs-2.s3.us-west-2.amazonaws.com",
        "cdrs.s3.dualstack.us-west-2.amazonaws.com",
        "cdrs.s3-accelerate.amazonaws.com",
        "cdrs.s3.cn-north-1.amazonaws.com.cn",
        "s3.amazonaws.com:443",
    ],
)
def test_link_to_amazon_s3_over_https_is_followed(scheme: str, host: str):
    link = f"{scheme}://{host}/{SIGNED}"

    assert check(link) == link


@pytest.mark.parametrize(
    "link",
    [
        pytest.param("http://s3.amazonaws.com/", id="S3 without TLS"),
        pytest.param("http://cdrs.s3.us-west-2.amazonaws.com:443/", id="http on the https port"),
        pytest.param("ftp://s3.amazonaws.com/", id="another protocol"),
        pytest.param("//s3.amazonaws.com/", id="no protocol"),
        pytest.param("s3.amazonaws.com/", id="only a host"),
        pytest.param("file:///etc/passwd", id="a file"),
        pytest.param("https://s3.amazonaws.com.evil.test/", id="S3's name at the beginning"),
        pytest.param("https://evil.test/s3.amazonaws.com/", id="S3's name in the path"),
        pytest.param("https://evil.test?s3.amazonaws.com/", id="S3's name in the query"),
        pytest.param("https://evil.test#s3.amazonaws.com/", id="S3's name in the fragment"),
        pytest.param("https://s3.amazonaws.com@evil.test/", id="S3's name as the user"),
        pytest.param("https://s3.amazonaws.com:443@evil.test/", id="S3's name as user and password"),
        pytest.param("https://user:password@s3.amazonaws.com/", id="credentials in the link"),
        pytest.param("https://evil.test\\@s3.amazonaws.com/", id="a backslash"),
        pytest.param("https://evil.test%2Fs3.amazonaws.com/", id="an encoded slash"),
        pytest.param("https://s3.amazonaws.com%00.evil.test/", id="an encoded null"),
        pytest.param("https://xs3.amazonaws.com/", id="a longer host name"),
        pytest.param("https://s3xamazonaws.com/", id="another dot"),
        pytest.param("https://s3.amazonaws.co/", id="another domain"),
        pytest.param("https://s3.amazonaws.com.uk/", id="another country"),
        pytest.param("https://amazonaws.com/", id="the domain alone"),
        pytest.param("https://ec2-203-0-113-7.compute-1.amazonaws.com/", id="a machine that anyone can rent"),
        pytest.param(
            "https://s3-123.us-east-1.elb.amazonaws.com/", id="a load balancer that anyone can name"
        ),
        pytest.param(
            "https://\N{CYRILLIC SMALL LETTER DZE}3.amazonaws.com/", id="a letter that looks the same"
        ),
        pytest.param("https://127.0.0.1/", id="this machine"),
        pytest.param("http://localhost:8080/", id="this machine by name"),
        pytest.param("http://169.254.169.254/latest/meta-data/", id="a cloud's metadata"),
        pytest.param("https://files.example.com/", id="a host that is not allowed"),
        pytest.param("https://[::1/", id="a broken address"),
        pytest.param("https://s3.amazonaws.com:port/", id="a broken port"),
        pytest.param("https://", id="only https"),
        pytest.param("?", id="an empty query"),
    ],
)
@pytest.mark.parametrize("hosts", [(), ("storage.example.com",)])
def test_other_links_are_refused_without_showing_them(link: str, hosts: tuple[str, ...]):
    with pytest.raises(CdrExportDownloadError, match=r"(?s)export 38647 leads to .*download_hosts") as caught:
        check(link + SIGNED, hosts=hosts)

    assert not caught.value.transient
    for secret in ("5ec2e7", "X-Amz", "password@", "meta-data"):
        assert secret not in str(caught.value)


def keep_in_the_host(url: str) -> Url:
    """Parse as urllib3 2.7 does: a newline stays in the host."""
    scheme, _, rest = url.partition("://")
    return Url(scheme=scheme, host=rest.partition("/")[0], path="/")


def refuse_to_parse(url: str) -> Url:
    """Parse as older versions of urllib3 do: a newline is an error."""
    raise LocationParseError(url)


@pytest.mark.parametrize(
    "host",
    [
        "s3.amazonaws.com\n.evil.test",
        "evil.test\n.s3.amazonaws.com",
        "s3.amazonaws.com\n",
        "\ns3.amazonaws.com",
        "s3.amazonaws.com\r\nX: y",
        "s3.amazonaws.com\t",
        "s3.amazonaws.com\0",
        "s3.amazonaws.com\x7f",
        "s3.amazonaws.com\x85",
        "s3.amazonaws.com\N{LINE SEPARATOR}",
    ],
)
@pytest.mark.parametrize("parse", [parse_url, keep_in_the_host, refuse_to_parse])
def test_link_with_a_control_character_is_refused(
    host: str, parse: Callable[[str], Url], monkeypatch: pytest.MonkeyPatch
):
    """Even if the host is allowed as it is."""
    monkeypatch.setattr(presigned_urls, "parse_url", parse)

    with pytest.raises(
        CdrExportDownloadError, match="link of export 38647 has a control character"
    ) as caught:
        check(f"https://{host}/{SIGNED}", hosts=(host, host.strip()))

    assert not caught.value.transient
    assert all(line.isprintable() for line in str(caught.value).split("\n"))
    for secret in ("5ec2e7", "X-Amz", "evil.test"):
        assert secret not in str(caught.value)


def test_refusal_names_the_host_to_allow():
    with pytest.raises(
        CdrExportDownloadError, match=r"(?s)https://files\.example\.com is .*add it to 'download_hosts'"
    ):
        check(f"https://files.example.com/{SIGNED}")


@pytest.mark.parametrize(
    ("link", "hosts", "is_followed"),
    [
        ("https://files.example.com/", ("files.example.com",), True),
        ("https://FILES.example.com:9000/", ("other", "files.example.com"), True),
        ("https://files.example.com/", ("Files.Example.com",), True),
        ("http://files.example.com/", ("files.example.com",), False),
        ("https://files.example.com.evil.test/", ("files.example.com",), False),
        ("https://a.files.example.com/", ("files.example.com",), False),
        ("https://user@files.example.com/", ("files.example.com",), False),
    ],
)
def test_allowed_host_is_followed_only_over_https(link: str, hosts: tuple[str, ...], is_followed: bool):
    if is_followed:
        assert check(link, hosts=hosts) == link
    else:
        with pytest.raises(CdrExportDownloadError, match="not followed"):
            check(link, hosts=hosts)


@pytest.mark.parametrize(
    "link", ["http://127.0.0.1:9000/", "http://localhost/", "http://[::1]:9000/", "https://127.0.0.2/"]
)
@pytest.mark.parametrize(
    "base_url", [LOOPBACK_API, "http://localhost:1", "http://[::1]:1", "https://127.0.0.1"]
)
def test_loopback_link_is_followed_if_the_api_is_on_loopback(link: str, base_url: str):
    assert check(link + SIGNED, base_url) == link + SIGNED


@pytest.mark.parametrize(
    "link",
    [
        "http://10.0.0.1/",
        "http://localhost.evil.test/",
        "http://127.0.0.1.evil.test/",
        "ftp://127.0.0.1/",
        "127.0.0.1/",
    ],
)
def test_api_on_loopback_allows_no_other_host(link: str):
    with pytest.raises(CdrExportDownloadError, match="not followed"):
        check(link + SIGNED, LOOPBACK_API)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "LocalHost", "::1", "[::1]"])
def test_loopback_hosts(host: str):
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", None, "10.0.0.1", "0.0.0.0", "localhost.evil.test", "127.0.0.1.evil.test", "127.1", "::2"]
)
def test_hosts_that_are_not_loopback(host: str | None):
    assert not is_loopback(host)


def test_link_to_a_forbidden_host_is_never_opened(client: FlowrouteClient, export: CdrExport):
    with serving(lambda answer: answer.send(200, b"file")) as storage:
        api = client_at("https://api.example.com")
        with pytest.raises(CdrExportDownloadError, match=r"(?s)leads to .*http://127\.0\.0\.1 "):
            read_file(api, replace(export, download_url=storage.url))

    assert storage.requests == []


def test_renewed_link_to_a_forbidden_host_is_never_opened(flowroute: FlowrouteSimulator, export: CdrExport):
    with (
        serving(lambda answer: answer.send(200, renewed)) as api,
        serving(lambda answer: answer.send(403)) as storage,
    ):
        attributes = {"status": "completed", "download_url": f"http://evil.test/{SIGNED}"}
        renewed = {"data": {"id": export.id, "attributes": attributes}}
        with pytest.raises(CdrExportDownloadError, match=r"(?s)leads to .*http://evil\.test "):
            read_file(client_at(api.url), replace(export, download_url=storage.url))

    assert len(storage.requests) == len(api.requests) == 1


@pytest.mark.parametrize("has_netrc", [False, True])
def test_only_the_api_gets_credentials(
    flowroute: FlowrouteSimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_netrc: bool
):
    if has_netrc:
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login somebody password else\n")
        monkeypatch.setenv("NETRC", str(netrc))
    client = client_of(flowroute)
    made = client.create_cdr_export(
        {"start_call_start_time": "2026-03-02 00:00:00", "start_call_end_time": "2026-03-03 00:00:00"}
    )
    flowroute.add_fault("cut_download", after_bytes=500)
    flowroute.add_fault("expired_link")

    read_file(client, client.get_cdr_export(made.id))

    to_storage = [request for request in flowroute.requests if request.on == "download"]
    to_api = [request for request in flowroute.requests if request.on != "download"]
    assert [request.status for request in to_storage] == [403, 200, 206]
    assert not any(request.has_authorization or "cookie" in request.headers for request in to_storage)
    assert all(request.has_authorization and request.status in (200, 201) for request in to_api)
