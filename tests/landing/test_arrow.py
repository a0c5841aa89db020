"""Rows as typed columns: exactly, or an error that says where."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_flowroute.cdr.columns import COLUMNS, MONEY, RECONCILED_COLUMNS, SECONDS
from airflow_provider_flowroute.cdr.plain import PlainReader
from airflow_provider_flowroute.exceptions import CdrExportFormatError
from airflow_provider_flowroute.landing import duplicates
from airflow_provider_flowroute.landing.arrow import ArrowReader, schema_of, type_of
from airflow_provider_flowroute.landing.csv_stream import Header
from airflow_provider_flowroute.simulator.calls import SAMPLE_ROWS

TODAY = Header(COLUMNS)
OLD = Header(COLUMNS[:25])


def a_line(**values: str) -> bytes:
    """A row of today's file, empty but for these values."""
    text = io.StringIO(newline="")
    csv.DictWriter(text, COLUMNS, lineterminator="\n").writerow(dict.fromkeys(COLUMNS, "") | values)
    return text.getvalue().encode()


def read(*lines: bytes, header: Header = TODAY) -> pa.Table:
    return ArrowReader(header).read(b"".join(lines))


def row(**values: str) -> dict[str, Any]:
    return dict(read(a_line(**values)).to_pylist()[0])


def test_each_column_has_its_type_and_unknown_ones_are_text():
    schema = schema_of(Header((*COLUMNS, "new")))

    types = {str(schema.field(name).type): [] for name in schema.names}
    for name in schema.names:
        types[str(schema.field(name).type)].append(name)
    assert types["timestamp[us, tz=UTC]"] == ["start_time", "end_time"]
    assert set(types["decimal128(18, 8)"]) == MONEY
    assert set(types["int32"]) == SECONDS
    assert "new" in types["string"]
    assert len(types) == 4


def test_a_published_row_comes_through_exactly():
    first = read(f"{SAMPLE_ROWS[1]}\n".encode(), header=OLD).to_pylist()[0]

    assert first == {
        **dict.fromkeys(COLUMNS),
        "direction": "Inbound",
        "start_time": datetime(2019, 6, 25, 18, 18, tzinfo=UTC),
        "end_time": datetime(2019, 6, 25, 18, 18, 29, tzinfo=UTC),
        "destination": "12063389999",
        "number_alias": "Office Line 2",
        "callerid": "+12069928999",
        "total_cost": Decimal("0.00474784"),
        "destination_name": "UNITED STATES",
        "callerid_country": "UNITED STATES",
        "line_information": "61",
        "result": "completed",
        "call_fail_sip_code": "200",
        "call_fail_reason": "OK",
        "duration": 29,
        "billed_duration": 30,
        "rate": Decimal("0.0015"),
        "first_increment": 6,
        "subsequent_increment": 6,
        "cost_subtotal": Decimal("0.00075"),
        "connect_fee": Decimal(0),
        "usf_fee": Decimal(0),
        "ccrf": Decimal("0.00009784"),
        "cnam_lookup_fee": Decimal("0.0039"),
        "customer_ip": "53.186.152.52",
    }


@pytest.mark.parametrize(
    "text",
    [
        "0012065551212",
        "+12065551212",
        "007",
        "N/A",
        "null",
        "nan",
        "Sales, West",
        'a "b" c',
        "two\nlines",
        "Büro 東京",
    ],
)
def test_text_stays_as_it_is(text):
    assert row(number_alias=text, destination=text, call_fail_sip_code=text)["number_alias"] == text


def test_only_what_is_empty_is_null():
    assert {name for name, value in row(result="N/A").items() if value is not None} == {"result"}


def test_line_ends_of_windows_and_a_missing_last_one_change_nothing():
    lines = a_line(result="completed") + a_line(result="failed")

    table = read(lines.replace(b"\n", b"\r\n").removesuffix(b"\r\n"))

    assert table == read(lines)
    assert table.column("sip_to_tag").to_pylist() == [None, None]


def test_eight_decimals_stay_exact_up_to_the_greatest_amount():
    assert row(total_cost="9999999999.99999999")["total_cost"] == Decimal("9999999999.99999999")
    assert row(total_cost="-0.00000001")["total_cost"] == Decimal("-0.00000001")


def test_unknown_columns_stay_in_their_place_and_missing_ones_are_typed_nulls_at_the_end():
    header = Header(("new", "callerid", "direction", "start_time", "destination"))

    table = read(b"37.5,+1,Inbound,2019-06-25 18:18:54+00,1\n", header=header)

    assert table.schema == schema_of(header)
    assert table.column_names[:5] == list(header.names)
    assert table.column("new").to_pylist() == ["37.5"]
    assert table.column("total_cost").to_pylist() == [None]
    assert table.schema.field("total_cost").type == type_of("total_cost")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (a_line(duration="37.5"), ["line 4, column duration: '37.5' is not a whole number"]),
        (a_line(billed_duration="2147483648"), ["line 4, column billed_duration", "32 bits"]),
        (a_line(total_cost="0.123456789"), ["line 4, column total_cost: '0.123456789'"]),
        (a_line(rate="12345678901.1"), ["line 4, column rate: '12345678901.1'", "10 digits before"]),
        (a_line(ccrf="1234567890123456789"), ["line 4, column ccrf"]),
        (a_line(end_time="2019-06-25 18:18:54"), ["line 4, column end_time", "a time such as"]),
        (a_line(start_time="soon"), ["line 4, column start_time: 'soon'"]),
        (b"Inbound,2019-06-25 18:18:54+00\n", ["line 4: 2 fields instead of 29", "'2019-06-25 18:18:54+00'"]),
        (a_line().replace(b"\n", b",more\n"), ["line 4: 30 fields", "'more'"]),
        (a_line(number_alias="B\0").replace(b"\0", b"\xff"), ["line 4: not UTF-8"]),
    ],
)
def test_what_does_not_fit_is_an_error_with_line_and_column_and_never_another_value(line, words):
    with pytest.raises(CdrExportFormatError) as caught:
        ArrowReader(TODAY).read(line + a_line(), 4)

    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_what_pyarrow_alone_finds_wrong_is_told_in_its_words():
    with pytest.raises(CdrExportFormatError, match=r"somewhere in the lines from 2: .*\+5"):
        read(a_line(duration="+5"))


def test_chunks_of_nothing_but_line_ends_hold_no_rows():
    assert read(b"\n\r\n").num_rows == 0
    assert read(b"\n", a_line(), b"\n").num_rows == 1


amounts = st.decimals(-1000, 1000, places=8).map(lambda amount: f"{amount:f}")
lines = st.builds(
    a_line,
    start_time=st.integers(1546300800, 1767225600).map(
        lambda second: f"{datetime.fromtimestamp(second, UTC):%Y-%m-%d %H:%M:%S}+00"
    )
    | st.just(""),
    total_cost=amounts | st.just(""),
    billed_duration=st.integers(-(2**31), 2**31 - 1).map(str) | st.just(""),
    cdr_id=st.sampled_from(["", "a", "b", "ü" * 300, "ü" * 300 + "b", "0" * 8, "0" * 9, "0" * 12, "0" * 16]),
    number_alias=st.sampled_from(["", "two\nlines", 'a "b", c']),
)


@given(st.lists(st.lists(lines, max_size=5).map(b"".join), max_size=4))
def test_with_and_without_pyarrow_the_proof_comes_to_the_same(chunks: list[bytes]):
    results = []
    for reader in (ArrowReader(TODAY), ArrowReader(TODAY, RECONCILED_COLUMNS), PlainReader(TODAY)):
        figures = reader.figures(reader.read(b""))  # type: ignore[attr-defined]
        with duplicates.Ids() as ids:
            for chunk in chunks:
                rows = reader.read(chunk)  # type: ignore[attr-defined]
                figures += reader.figures(rows)  # type: ignore[attr-defined]
                if found := reader.ids(rows):  # type: ignore[attr-defined]
                    ids.add(found)
            results.append((figures, sorted(each[:36] for each in ids.repeated())))

    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("reader", [ArrowReader, PlainReader])
def test_a_file_without_cost_durations_or_ids_says_so(reader):
    header = Header(("direction", "start_time", "destination", "callerid"))
    reading = reader(header)

    rows = reading.read(b"Inbound,2019-06-25 18:18:54+00,1,2\n")

    figures = reading.figures(rows)
    assert (figures.rows, figures.total_cost, figures.billed_seconds) == (1, None, None)
    assert reading.ids(rows) is None
