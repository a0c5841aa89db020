"""The API answers like Flowroute's, with the same quirks."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
import requests

from airflow_provider_flowroute.simulator import FlowrouteSimulator
from tests.simulator.user import DAY, MEDIA_TYPE, User

WINDOW = {"start_call_start_time": DAY[0], "start_call_end_time": DAY[1]}


def body(filters: dict[str, Any], **attributes: Any) -> dict[str, Any]:
    return {"data": {"type": "cdrexport", "attributes": {"filter_parameters": filters} | attributes}}


def error(response: requests.Response) -> tuple[int, str]:
    [only] = response.json()["errors"]
    assert response.headers["Content-Type"] == MEDIA_TYPE
    assert set(only) == {"id", "status", "title", "detail"}
    assert only["status"] == response.status_code
    return only["status"], only["detail"]


def test_create_response_has_filters_as_attributes(user: User) -> None:
    """Return the filters as attributes; ``filter_parameters`` has no window."""

    filters = WINDOW | {"number_aliases": ["Office 221"], "something_new": 7}
    response = user.post(body(filters, callback_url="https://example.com/hook"))
    data = response.json()["data"]
    assert response.status_code == 201
    assert response.headers["Content-Type"] == MEDIA_TYPE
    assert (data["type"], data["id"]) == ("cdrexport", "38647")
    assert data["links"]["self"] == f"{user.exports_url}/38647"
    attributes = data["attributes"]
    assert attributes.items() >= filters.items()
    assert attributes["filter_parameters"] == {"number_aliases": ["Office 221"], "something_new": 7}
    assert (attributes["status"], attributes["download_url"]) == ("processing", None)
    assert attributes["callback_url"] == "https://example.com/hook"


def test_created_at_is_the_same_instant_in_another_zone(user: User) -> None:
    attributes = user.post(body(WINDOW)).json()["data"]["attributes"]
    requested, created = attributes["requested_at"], attributes["created_at"]
    assert (requested[-6:], created[-6:]) == ("+00:00", "+03:00")
    assert datetime.fromisoformat(requested) == datetime.fromisoformat(created)


def test_status_is_flat_with_lists_and_money_as_text(user: User) -> None:
    export_id = user.create(number_aliases=["Office 221", "Office 888"])
    data = user.session.get(f"{user.exports_url}/{export_id}", timeout=10).json()["data"]
    attributes = data["attributes"]
    assert (data["id"], attributes["status"]) == (export_id, "completed")
    assert attributes["filter_parameters"] == WINDOW | {"number_aliases": "['Office 221', 'Office 888']"}
    assert isinstance(attributes["num_calls"], int)
    assert isinstance(attributes["billed_minutes"], float)
    export = user.flowroute.exports[0]
    assert attributes["total_cost"] == f"{export.total_cost:.6f}"
    assert len(attributes["call_subtotal"].partition(".")[2]) == 6


@pytest.mark.flowroute(processing_seconds=float("inf"))
def test_status_while_processing_has_nulls(user: User) -> None:
    attributes = user.status(user.create())
    nulls = {name for name, value in attributes.items() if value is None}
    sums = {"total_cost", "call_subtotal", "connect_fees", "cnamlookup_fees", "usf_fees", "ccrf"}
    assert nulls == sums | {"num_calls", "billed_minutes", "download_url", "expires_at", "callback_url"}


def test_empty_window_gives_a_file_with_only_a_header(user: User) -> None:
    export_id = user.create(DAY[0], DAY[0])
    attributes = user.status(export_id)
    assert (attributes["status"], attributes["num_calls"], attributes["total_cost"]) == (
        "completed",
        0,
        "0.0",
    )
    assert user.get(attributes["download_url"]).status_code == 200
    assert user.flowroute.csv(export_id).count(b"\n") == 1


def test_list_is_newest_first_nested_with_integer_ids(user: User) -> None:
    ids = [user.create() for _ in range(3)]
    listed = user.session.get(user.exports_url, params={"limit": 2}, timeout=10).json()
    assert [item["data"]["id"] for item in listed["data"]] == [int(ids[2]), int(ids[1])]
    filters = listed["data"][0]["data"]["attributes"]["filter_parameters"]
    assert filters["start_call_start_time"] == "2026-03-02T00:00:00+00:00"
    assert listed["links"] == {
        "self": "http://cdr-api/cdrs/exports?offset=0&limit;=2",
        "next": "http://cdr-api/cdrs/exports?offset=2&limit;=2",
    }


def test_list_has_pages_of_ten_by_offset(user: User) -> None:
    """The last page has no ``next`` link."""

    ids = [int(user.create(DAY[0], DAY[0])) for _ in range(11)]
    first = user.session.get(user.exports_url, timeout=10).json()
    last = user.session.get(user.exports_url, params={"offset": 10}, timeout=10).json()
    assert [item["data"]["id"] for item in first["data"] + last["data"]] == ids[::-1]
    assert "next" in first["links"]
    assert "next" not in last["links"]


@pytest.mark.flowroute(processing_seconds=float("inf"))
def test_list_filters_by_status(flowroute: FlowrouteSimulator, user: User) -> None:
    done, _ = user.create(), user.create()
    flowroute.complete(done)
    for status, ids in (("completed", [int(done)]), ("failed", [])):
        listed = user.session.get(user.exports_url, params={"status": status}, timeout=10).json()
        assert [item["data"]["id"] for item in listed["data"]] == ids
        assert listed["links"]["self"].startswith("http://cdr-api/")


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ({"limit": "201"}, "Invalid value: limit must be between 1 and 200."),
        ({"limit": "0"}, "Invalid value: limit must be between 1 and 200."),
        ({"limit": "ten"}, "Invalid value: limit must be a whole number of 0 or more."),
        ({"offset": "-1"}, "Invalid value: offset must be a whole number of 0 or more."),
        ({"status": "done"}, "Invalid value: status must be one of processing, completed, failed."),
    ],
)
def test_invalid_list_query_is_refused(user: User, query: dict[str, str], detail: str) -> None:
    assert error(user.session.get(user.exports_url, params=query, timeout=10)) == (422, detail)


@pytest.mark.parametrize("name", list(WINDOW))
@pytest.mark.parametrize(
    "value",
    [
        "2026-03-02T00:00:00",
        "2026-03-02 00:00:00+00:00",
        "2026-03-02 00:00",
        "2026-03-02",
        "2026-02-30 00:00:00",
        " 2026-03-02 00:00:00",
        "٢٠٢٦-03-02 00:00:00",
        1772409600,
        None,
    ],
)
def test_other_time_formats_are_refused(user: User, name: str, value: object) -> None:
    response = user.post(body(WINDOW | {name: value}))
    assert error(response) == (422, f"Invalid value: {name} is improperly formatted.")


@pytest.mark.parametrize("name", list(WINDOW))
def test_window_without_start_or_end_is_refused(user: User, name: str) -> None:
    filters = {other: value for other, value in WINDOW.items() if other != name}
    assert error(user.post(body(filters))) == (422, f"Missing required parameter: {name}.")


def test_window_that_ends_before_its_start_is_refused(user: User) -> None:
    filters = {"start_call_start_time": DAY[1], "start_call_end_time": DAY[0]}
    detail = "Invalid value: start_call_start_time must not be after start_call_end_time."
    assert error(user.post(body(filters))) == (422, detail)


def test_window_is_at_most_92_days(user: User) -> None:
    user.create(
        "2026-01-01 00:00:00", "2026-04-03 00:00:00", direction="inbound", duration_greater_than=10**9
    )
    filters = {"start_call_start_time": "2026-01-01 00:00:00", "start_call_end_time": "2026-04-03 00:00:01"}
    assert error(user.post(body(filters))) == (
        422,
        "Invalid value: the time range must not be longer than 92 days.",
    )


@pytest.mark.parametrize(
    ("filters", "detail"),
    [
        ({"number_aliases": "Office 221"}, "number_aliases must be an array of strings."),
        ({"destination_prefix": [1206]}, "destination_prefix must be an array of strings."),
        ({"duration_greater_than": "60"}, "duration_greater_than must be a number."),
        ({"cost_less_than": True}, "cost_less_than must be a number."),
        ({"tollfree_only": "yes"}, "tollfree_only must be a boolean."),
        ({"caller_ip": 5}, "caller_ip must be a string."),
        ({"direction": "both"}, "direction must be either inbound or outbound."),
        ({"direction": ["inbound"]}, "direction must be either inbound or outbound."),
    ],
)
def test_filter_with_the_wrong_type_is_refused(user: User, filters: dict[str, object], detail: str) -> None:
    assert error(user.post(body(WINDOW | filters))) == (422, f"Invalid value: {detail}")


@pytest.mark.parametrize(
    ("document", "refusal"),
    [
        ([], (400, "The request body must be a JSON object.")),
        ({}, (422, "Missing required parameter: data.")),
        ({"data": []}, (422, "Invalid value: data must be an object.")),
        ({"data": {}}, (422, "Missing required parameter: type.")),
        ({"data": {"type": "export"}}, (422, "Invalid value: type must be cdrexport.")),
        ({"data": {"type": "cdrexport"}}, (422, "Missing required parameter: attributes.")),
        (
            {"data": {"type": "cdrexport", "attributes": {}}},
            (422, "Missing required parameter: filter_parameters."),
        ),
        (
            body(WINDOW, callback_url="ftp://example.com"),
            (422, "Invalid value: callback_url must be an HTTP or HTTPS URL."),
        ),
    ],
)
def test_body_with_the_wrong_structure_is_refused(
    user: User, document: object, refusal: tuple[int, str]
) -> None:
    assert error(user.post(document)) == refusal
    assert user.flowroute.exports == []


@pytest.mark.parametrize("text", ["", "{", '{"data": NaN}', "[" * 100_000])
def test_body_that_is_not_json_is_refused(user: User, text: str) -> None:
    response = user.session.post(
        user.exports_url, data=text, headers={"Content-Type": MEDIA_TYPE}, timeout=10
    )
    assert error(response) == (400, "The request body is not valid JSON.")


def test_content_type_of_the_published_example_is_accepted(user: User) -> None:
    response = user.post(body(WINDOW), **{"Content-Type": "application/vnd+api.json"})
    assert (response.status_code, response.headers["Content-Type"]) == (201, MEDIA_TYPE)


HOOK = "https://example.com/cdr-hook?token=a%20b"


@pytest.mark.parametrize(
    ("echo", "shown"),
    [
        pytest.param(echo, shown, marks=pytest.mark.flowroute(callback_url_echo=echo), id=echo)
        for echo, shown in (
            ("exact", {"callback_url": HOOK}),
            ("trailing_slash", {"callback_url": "https://example.com/cdr-hook/?token=a%20b"}),
            ("escaped", {"callback_url": "https://example.com/cdr-hoo%6B?token=a%20b"}),
            ("null", {"callback_url": None}),
            ("omitted", {}),
        )
    ],
)
def test_callback_url_can_be_shown_in_another_form(
    user: User, echo: str, shown: dict[str, str | None]
) -> None:
    """Create, status and list show it alike. The callback still goes to the URL as sent."""
    created = user.post(body(WINDOW, callback_url=HOOK)).json()["data"]
    status = user.session.get(f"{user.exports_url}/{created['id']}", timeout=10).json()["data"]
    [entry] = user.session.get(user.exports_url, timeout=10).json()["data"]
    for resource in (created, status, entry["data"]):
        attributes = resource["attributes"]
        assert {name: attributes[name] for name in attributes if name == "callback_url"} == shown
    assert user.flowroute.exports[0].callback_url == HOOK


@pytest.mark.flowroute(callback_url_echo="trailing_slash")
def test_trailing_slash_of_a_callback_url_can_be_removed(user: User) -> None:
    assert user.status(user.create(callback_url="http://127.0.0.1:1/hook/"))["callback_url"] == (
        "http://127.0.0.1:1/hook"
    )


def test_other_content_types_are_refused(user: User) -> None:
    response = user.session.post(user.exports_url, json=body(WINDOW), timeout=10)
    assert error(response) == (415, "Content-Type must be application/vnd.api+json.")


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "Basic",
        "Basic !!!",
        "Basic ZGVtby1hY2Nlc3Mta2V5Ondyb25n",
        "Bearer ZGVtby1hY2Nlc3Mta2V5OmRlbW8tc2VjcmV0LWtleQ==",
    ],
)
def test_requests_without_valid_keys_are_refused(user: User, authorization: str | None) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    for path in ("", "/38647"):
        response = user.get(user.exports_url + path, **headers)
        assert error(response) == (401, "The access key or the secret key is not valid.")


def test_unknown_export_and_unknown_path_are_not_found(user: User) -> None:
    gone = user.session.get(f"{user.exports_url}/1", timeout=10)
    assert error(gone) == (404, "The requested CDR export does not exist.")
    assert error(user.session.get(f"{user.flowroute.url}/v2/numbers", timeout=10))[0] == 404


def test_export_cannot_be_deleted(user: User) -> None:
    response = user.session.delete(f"{user.exports_url}/{user.create()}", timeout=10)
    assert error(response)[0] == 405
    assert response.headers["Allow"] == "GET"


def test_unknown_filter_is_accepted_without_effect(user: User) -> None:
    user.create(e911_only=True)
    user.create()
    odd, plain = user.flowroute.exports
    assert odd.num_calls == plain.num_calls
    assert odd.filter_parameters["e911_only"] is True
