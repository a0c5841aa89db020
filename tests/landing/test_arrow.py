"""Records become typed columns without a change, or an error that names row and column."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_flowroute.cdr.columns import COLUMNS, FEE_COLUMNS, MONEY, RECONCILED_COLUMNS, SECONDS
from airflow_provider_flowroute.exceptions import CdrExportFormatError
from airflow_provider_flowroute.landing import arrow
from airflow_provider_flowroute.landing.arrow import (
    CdrParquetWriter,
    read_parquet,
    read_tables,
    rewrite_footer,
    schema_of,
    totals_of,
    type_of,
)
from airflow_provider_flowroute.landing.csv_stream import Header
from airflow_provider_flowroute.simulator.calls import SAMPLE_ROWS

CURRENT = Header(COLUMNS)
OLD = Header(COLUMNS[:25])


def a_line(**values: str) -> bytes:
    """A row of a current file, empty except for these values."""
    text = io.StringIO(newline="")
    csv.DictWriter(text, COLUMNS, lineterminator="\n").writerow(dict.fromkeys(COLUMNS, "") | values)
    return text.getvalue().encode()


def read(*lines: bytes, header: Header = CURRENT, columns: Sequence[str] | None = None) -> pa.Table:
    stream = io.BufferedReader(io.BytesIO(b"".join(lines)))  # type: ignore[arg-type]
    names = header.columns if columns is None else columns
    return pa.concat_tables(
        [pa.Table.from_batches([], schema_of(names)), *read_tables(stream, header, columns)]
    )


def row(**values: str) -> dict[str, Any]:
    return dict(read(a_line(**values)).to_pylist()[0])


def test_each_column_has_its_type_and_unknown_ones_are_text():
    schema = schema_of((*COLUMNS, "new"))

    types = {str(schema.field(name).type): [] for name in schema.names}
    for name in schema.names:
        types[str(schema.field(name).type)].append(name)
    assert types["timestamp[us, tz=UTC]"] == ["start_time", "end_time"]
    assert set(types["decimal128(18, 8)"]) == MONEY
    assert set(types["int32"]) == SECONDS
    assert "new" in types["string"]
    assert len(types) == 4


def test_a_documented_row_is_read_exactly():
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
def test_text_is_unchanged(text):
    assert row(number_alias=text, destination=text, call_fail_sip_code=text)["number_alias"] == text


def test_only_empty_values_are_null():
    assert {name for name, value in row(result="N/A").items() if value is not None} == {"result"}


def test_windows_line_ends_and_a_missing_last_one_change_nothing():
    lines = a_line(result="completed") + a_line(result="failed")

    table = read(lines.replace(b"\n", b"\r\n").removesuffix(b"\r\n"))

    assert table == read(lines)
    assert table.column("sip_to_tag").to_pylist() == [None, None]


def test_eight_decimals_are_exact_up_to_the_largest_amount():
    assert row(total_cost="9999999999.99999999")["total_cost"] == Decimal("9999999999.99999999")
    assert row(total_cost="-0.00000001")["total_cost"] == Decimal("-0.00000001")


def test_unknown_columns_keep_their_place_and_missing_are_null():
    header = Header(("new", "callerid", "direction", "start_time", "destination"))

    table = read(b"37.5,+1,Inbound,2019-06-25 18:18:54+00,1\n", header=header)

    assert table.schema == schema_of(header.columns)
    assert table.column_names[:5] == list(header.names)
    assert table.column("new").to_pylist() == ["37.5"]
    assert table.column("total_cost").to_pylist() == [None]
    assert table.schema.field("total_cost").type == type_of("total_cost")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (a_line(duration="37.5"), ["Row 3, column duration", "int32", "'37.5'"]),
        (a_line(duration="+5"), ["Row 3, column duration", "'+5'"]),
        (a_line(billed_duration="2147483648"), ["Row 3, column billed_duration", "'2147483648'"]),
        (a_line(total_cost="0.123456789"), ["Row 3, column total_cost", "data loss"]),
        (a_line(rate="12345678901.1"), ["Rows 2 to 4, column rate", "more than 10 digits"]),
        (a_line(ccrf="1234567890123456789"), ["Row 3, column ccrf", "'1234567890123456789'"]),
        (a_line(end_time="2019-06-25 18:18:54"), ["Row 3, column end_time", "zone offset"]),
        (a_line(start_time="soon"), ["Row 3, column start_time", "'soon'"]),
        (b"Inbound,2019-06-25 18:18:54+00\n", ["Row 3: Expected 29 columns, got 2."]),
        (a_line(callerid="+12065551212").replace(b"\n", b",more\n"), ["Row 3: Expected 29 columns, got 30."]),
        (a_line(number_alias="B\0").replace(b"\0", b"\xff"), ["Row 3, column number_alias", "UTF8"]),
    ],
)
def test_a_wrong_value_is_an_error_and_never_another_value(line, words):
    """The header is row 1. The rest of the record may be personal data, and is not shown."""
    with pytest.raises(CdrExportFormatError) as caught:
        read(a_line(), line, a_line())

    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "+12065551212" not in str(caught.value)


def test_rows_are_counted_across_blocks_and_line_ends_in_values(monkeypatch):
    monkeypatch.setattr(arrow, "BLOCK_BYTES", 1000)

    with pytest.raises(CdrExportFormatError, match="Row 302, column duration"):
        read(a_line(number_alias="two\nlines") * 300, a_line(duration="x"))


def test_a_quote_that_is_not_closed_does_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(arrow, "BLOCK_BYTES", 1000)

    with pytest.raises(CdrExportFormatError, match="quotes is probably not closed"):
        read(a_line(), b'"never closed' + a_line() * 100)


def test_line_ends_alone_are_no_rows():
    assert read(b"").num_rows == 0
    assert read(b"\n\r\n").num_rows == 0
    assert read(b"\n", a_line(), b"\n").num_rows == 1


# Writers quote a cell that holds a quote or a line end. pyarrow 24 divides records wrongly after the character NUL; the
# landing of such a file fails, because its rows are not those that Flowroute counts.
EXCLUDED = "\r" if int(pa.__version__.split(".")[0]) >= 26 else "\r\0"
cells = st.text(
    alphabet=st.sampled_from('a,"\n ') | st.characters(exclude_characters=EXCLUDED, codec="utf-8")
)
records = st.lists(
    st.lists(cells, min_size=4, max_size=4).filter(lambda record: record != [""] * 4), min_size=1, max_size=8
)


#: Columns of text; ``start_time``, which is required, is the fifth.
FOUR = ("direction", "number_alias", "destination", "callerid")


@given(
    table=records,
    line_end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    has_last_line_end=st.booleans(),
    blocks=st.integers(1, 9),
)
def test_records_are_read_whole_wherever_the_blocks_end(
    table: list[list[str]], line_end: str, quoting: int, has_last_line_end: bool, blocks: int
):
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=line_end, quoting=quoting).writerows([*record, ""] for record in table)  # type: ignore[call-overload]
    content = (text.getvalue() if has_last_line_end else text.getvalue().removesuffix(line_end)).encode()
    longest = 2 * max(sum(len(cell.encode()) for cell in record) for record in table) + 30

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrow, "BLOCK_BYTES", max(longest, len(content) // blocks))
        stream = io.BufferedReader(io.BytesIO(content))  # type: ignore[arg-type]
        rows = [
            row for part in read_tables(stream, Header((*FOUR, "start_time"))) for row in part.to_pylist()
        ]

    assert [[row[name] or "" for name in FOUR] for row in rows] == table


amounts = st.decimals(-1000, 1000, places=8).map(lambda amount: f"{amount:f}")
lines = st.builds(
    a_line,
    start_time=st.integers(1546300800, 1767225600).map(
        lambda second: f"{datetime.fromtimestamp(second, UTC):%Y-%m-%d %H:%M:%S}+00"
    )
    | st.just(""),
    total_cost=amounts | st.just(""),
    usf_fee=amounts | st.just(""),
    cost_subtotal=amounts | st.just(""),
    billed_duration=st.integers(-(2**31), 2**31 - 1).map(str) | st.just(""),
    cdr_id=st.sampled_from(["", "a", "b", "ü" * 300, "ü" * 300 + "b", "0" * 8, "0" * 9, "0" * 12, "0" * 16]),
    number_alias=st.sampled_from(["", "two\nlines", 'a "b", c']),
)


@given(st.lists(lines, max_size=12))
def test_totals_are_exact_whichever_columns_are_read(rows: list[bytes]):
    records = list(csv.DictReader(io.StringIO(b"".join(rows).decode(), newline=""), COLUMNS))
    starts = [datetime.fromisoformat(record["start_time"]) for record in records if record["start_time"]]

    for columns in (None, RECONCILED_COLUMNS):
        totals = totals_of(read(*rows, columns=columns), CURRENT)
        assert totals.rows == len(records)
        assert totals.total_cost == sum(
            (Decimal(record["total_cost"] or 0) for record in records), Decimal(0)
        )
        assert totals.billed_seconds == sum(int(record["billed_duration"] or 0) for record in records)
        assert (totals.first_start, totals.last_start) == (
            min(starts, default=None),
            max(starts, default=None),
        )
        assert totals.without_start == len(records) - len(starts)
        sums = {
            name: sum((Decimal(record[column] or 0) for record in records), Decimal(0))
            for name, column in FEE_COLUMNS.items()
        }
        assert totals.fees == (sums if columns is None else {})


def test_totals_of_a_column_that_the_file_lacks_are_unknown():
    header = Header(("direction", "start_time", "destination", "callerid"))

    totals = totals_of(read(b"Inbound,2019-06-25 18:18:54+00,1,2\n", header=header), header)

    assert (totals.rows, totals.total_cost, totals.billed_seconds) == (1, None, None)
    assert totals.fees == dict.fromkeys(FEE_COLUMNS)


def test_a_rewritten_footer_keeps_every_row_group(tmp_path):
    path = tmp_path / "cdrs.parquet"
    writer = CdrParquetWriter(path, COLUMNS)
    writer.write(read(a_line(cdr_id="a"), a_line(cdr_id="b")))
    writer.write(read(a_line(cdr_id="c")))
    writer.close({"flowroute.export_id": "1"})
    before = pq.read_table(path)

    rewrite_footer(path, {"flowroute.export_id": "2"})

    metadata = pq.read_metadata(path)
    assert metadata.metadata[b"flowroute.export_id"] == b"2"
    assert [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)] == [2, 1]
    assert pq.read_table(path).equals(before)
    assert [batch.column("cdr_id").to_pylist() for batch in read_parquet(path, ["cdr_id"])] == [
        ["a", "b", "c"]
    ]
    assert list(tmp_path.iterdir()) == [path]
