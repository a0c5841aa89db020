"""An export, in each structure in which Flowroute returns it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_flowroute.cdr.export import CdrExport, ExportStatus, check_export_id, pluralize
from airflow_provider_flowroute.exceptions import (
    CdrExportFailedError,
    CdrExportNotCompletedError,
    CdrExportUnknownStatusError,
    FlowrouteUnexpectedResponseError,
    FlowrouteValueError,
)

SIGNATURE = "4bc4a7c0ffee"
LINK = f"https://s3-us-west-2.amazonaws.com/cdrs/38647.gz?X-Amz-Expires=259200&X-Amz-Signature={SIGNATURE}"
ATTRIBUTES: dict[str, Any] = {
    "callback_url": "https://example.com/cdrs?token=callback-token",
    "status": "completed",
    "download_url": LINK,
    "requested_at": "2019-03-18T16:43:00+00:00",
    "created_at": "2019-03-18T19:43:01+03:00",
    "expires_at": "2019-03-21T16:45:00+00:00",
    "total_cost": "34.321300",
    "call_subtotal": "30.0",
    "connect_fees": 0,
    "cnamlookup_fees": 1.5,
    "usf_fees": None,
    "num_calls": 1234,
    "billed_minutes": 5678.9,
    "filter_parameters": {
        "start_call_start_time": "2019-01-01T00:00:00+00:00",
        "start_call_end_time": "2019-02-01T03:00:00+03:00",
        "number_aliases": "['Office 221', 'Office 888']",
    },
}


SELF_LINK = "https://api.flowroute.com/v2/cdrs/exports/38647"


def resource(export_id: Any = "38647", **attributes: Any) -> dict[str, Any]:
    links = {"self": SELF_LINK}
    return {"type": "cdrexport", "id": export_id, "links": links, "attributes": {**ATTRIBUTES, **attributes}}


def an_export(**attributes: Any) -> CdrExport:
    return CdrExport.from_resource(resource(**attributes))


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(resource(), id="flat"),
        pytest.param({"data": resource()}, id="nested, as in a list"),
        pytest.param({"data": resource(38647)}, id="a number as ID"),
    ],
)
def test_every_structure_gives_the_same_export(shape: Any):
    export = CdrExport.from_resource(shape)

    assert export == an_export()
    assert export.id == "38647"
    assert export.self_link == SELF_LINK


@pytest.mark.parametrize("links", [None, [], {}, {"self": None}, {"self": {"href": SELF_LINK}}, {"self": 5}])
def test_missing_or_unusual_self_link_is_none(links: Any):
    assert CdrExport.from_resource({**resource(), "links": links}).self_link is None


def test_values_are_converted_to_their_types():
    export = an_export()

    assert export.status is ExportStatus.COMPLETED
    assert export.is_completed
    assert export.total_cost == Decimal("34.321300")
    assert export.billed_minutes == Decimal("5678.9")
    assert export.fees == {
        "call_subtotal": Decimal("30.0"),
        "connect_fees": Decimal(0),
        "cnamlookup_fees": Decimal("1.5"),
        "usf_fees": None,
        "ccrf": None,
    }
    assert export.num_calls == 1234
    assert export.created_at == datetime(2019, 3, 18, 16, 43, 1, tzinfo=UTC)
    assert export.expires_at == datetime(2019, 3, 21, 16, 45, tzinfo=UTC)
    assert str(export.window) == "2019-01-01 00:00:00 .. 2019-02-01 00:00:00 UTC"
    assert export.download_url == LINK


def test_documented_response_to_a_create_is_parsed():
    """Its filters are among the attributes, and its window is only there."""
    window = {"start_call_start_time": "2019-01-01 00:00:00", "start_call_end_time": "2019-02-01 00:00:00"}
    export = CdrExport.from_resource(
        {
            "id": "38647",
            "attributes": {
                "number_aliases": ["Office 221"],
                **window,
                "status": "processing",
                "download_url": None,
                "total_cost": None,
                "filter_parameters": {"number_aliases": ["Office 221"]},
            },
        }
    )

    assert export.filter_parameters == {**window, "number_aliases": ["Office 221"]}
    assert str(export.window) == "2019-01-01 00:00:00 .. 2019-02-01 00:00:00 UTC"
    assert (export.download_url, export.total_cost, export.num_calls, export.expires_at) == (None,) * 4


def test_empty_result_is_completed():
    export = an_export(num_calls=0, total_cost="0.0", billed_minutes=0)

    export.check_completed()
    assert (export.num_calls, export.total_cost, export.download_url) == (0, Decimal(0), LINK)


@pytest.mark.parametrize(
    "parameters", [None, {}, {"start_call_start_time": "2019-01-01"}, {"start_call_start_time": 5}]
)
def test_export_without_a_window_has_none(parameters: Any):
    export = an_export(filter_parameters=parameters)

    assert export.window is None
    assert export.summary()["window"] is None


@pytest.mark.parametrize("echoed", ["soon", "2018-01-01", None])
def test_invalid_window_is_none(echoed: Any):
    assert (
        an_export(filter_parameters={**ATTRIBUTES["filter_parameters"], "start_call_end_time": echoed}).window
        is None
    )


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (None, "no attributes"),
        ([], "no attributes"),
        ("completed", "no attributes"),
        ({"errors": []}, "no attributes"),
        ({"data": {"id": "1"}}, "no attributes"),
        ({"id": "1", "attributes": []}, "no attributes"),
        (resource(None), "no usable export ID: None"),
        (resource(""), "no usable export ID: ''"),
        (resource(True), "no usable export ID: True"),
        (resource(1.5), "no usable export ID: 1.5"),
        (resource(total_cost="a lot"), "(?s)38647.*'a lot' is not an amount"),
        (resource(total_cost="NaN"), "(?s)38647.*'NaN' is not an amount"),
        (resource(ccrf={}), "(?s)38647.*not an amount"),
        (resource(expires_at="soon"), "(?s)38647.*expires_at is not a date and time.*'soon'"),
        (resource(created_at=5), "(?s)38647.*created_at has the wrong type.*5"),
        (resource(num_calls="many"), "(?s)38647.*many"),
        (resource(num_calls=[]), "38647"),
        (resource(num_calls=float("inf")), "38647"),
        (resource(filter_parameters="text"), "38647"),
        (resource(download_url={"href": LINK}), "(?s)38647.*download_url"),
    ],
)
def test_error_for_another_structure_names_the_problem(shape: Any, words: str):
    with pytest.raises(FlowrouteUnexpectedResponseError, match=words) as caught:
        CdrExport.from_resource(shape)

    assert not caught.value.transient
    assert SIGNATURE not in str(caught.value)


@pytest.mark.parametrize("status", ["processing", "completed"])
def test_processing_and_completed_are_no_errors(status: str):
    an_export(status=status).raise_if_failed()


def test_error_for_a_failed_export_says_to_create_a_new_one():
    with pytest.raises(
        CdrExportFailedError, match=r"(?s)38647 failed.*2019-01-01.*clear the task that created this one"
    ):
        an_export(status="failed").raise_if_failed()


@pytest.mark.parametrize("status", ["archived", "Completed", "unknown", "", None, 5])
def test_unknown_status_is_an_error(status: Any):
    export = an_export(status=status)

    assert export.status is ExportStatus.UNKNOWN
    assert not export.is_completed
    with pytest.raises(CdrExportUnknownStatusError, match=f"38647 has the unknown status '{status}'"):
        export.raise_if_failed()
    assert export.summary()["status"] == str(status)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("processing", CdrExportNotCompletedError),
        ("failed", CdrExportFailedError),
        ("archived", CdrExportUnknownStatusError),
    ],
)
def test_only_a_completed_export_has_a_file(status: str, error: type[Exception]):
    with pytest.raises(error, match="38647"):
        an_export(status=status).check_completed()


def test_summary_is_json_with_exact_amounts():
    summary = an_export().summary()

    assert json.loads(json.dumps(summary)) == summary
    assert summary == {
        "id": "38647",
        "status": "completed",
        "window": {"start": "2019-01-01T00:00:00+00:00", "end": "2019-02-01T00:00:00+00:00"},
        "num_calls": 1234,
        "total_cost": "34.321300",
        "billed_minutes": "5678.9",
        "fees": {
            "call_subtotal": "30.0",
            "connect_fees": "0",
            "cnamlookup_fees": "1.5",
            "usf_fees": None,
            "ccrf": None,
        },
        "expires_at": "2019-03-21T16:45:00+00:00",
    }


def test_small_amounts_have_no_exponent():
    assert an_export(total_cost="0.00000001").summary()["total_cost"] == "0.00000001"
    assert an_export(total_cost=1e-08).summary()["total_cost"] == "0.00000001"


@pytest.mark.parametrize(
    "show", [repr, str, lambda export: str(export.summary()), lambda export: f"{[export]}"]
)
def test_no_text_of_an_export_contains_its_link(show: Any):
    shown = show(replace(an_export(), status_text="anything"))

    assert "38647" in shown
    for secret in (SIGNATURE, "X-Amz", "amazonaws", "callback-token"):
        assert secret not in shown


@pytest.mark.parametrize("value", ["38647", 38647, " 38647\n"])
def test_export_id_from_an_xcom_is_converted_to_text(value: Any):
    assert check_export_id(value) == "38647"


@pytest.mark.parametrize("value", [None, "None", "", "  ", True, 1.5, ["38647"], {"id": "38647"}])
def test_invalid_export_id_is_rejected_with_its_value(value: Any):
    with pytest.raises(FlowrouteValueError, match="export_id is not the ID of an export") as caught:
        check_export_id(value)
    assert f"It is {value!r};" in str(caught.value)


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 calls"), (1, "1 call"), (2, "2 calls"), (None, "an unknown number of calls")]
)
def test_number_is_shown_with_its_noun(number: int | None, words: str):
    assert pluralize(number, "call") == words
