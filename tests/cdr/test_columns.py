"""The columns of an export's file, and how their values are parsed."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from airflow_provider_flowroute.cdr.columns import COLUMNS, MONEY, REQUIRED, SECONDS, TIMES, parse_value


def test_columns_are_the_25_of_older_files_and_4_newer_ones():
    assert len(COLUMNS) == len(set(COLUMNS)) == 29
    assert COLUMNS[0] == "direction"
    assert COLUMNS[24] == "customer_ip"
    assert COLUMNS[25:] == ("sip_callid", "cdr_id", "sip_from_tag", "sip_to_tag")
    assert set(REQUIRED) | MONEY | SECONDS | TIMES <= set(COLUMNS)


@pytest.mark.parametrize(
    ("column", "text", "value"),
    [
        ("start_time", "2019-06-25 18:18:54+00", datetime(2019, 6, 25, 18, 18, 54, tzinfo=UTC)),
        ("end_time", "2019-06-25T21:18:54+03:00", datetime(2019, 6, 25, 18, 18, 54, tzinfo=UTC)),
        ("total_cost", "0.00474784", Decimal("0.00474784")),
        ("rate", "9999999999.99999999", Decimal("9999999999.99999999")),
        ("ccrf", "-1.5", Decimal("-1.5")),
        ("duration", "37", 37),
        ("billed_duration", "-2147483648", -(2**31)),
        ("destination", "0018774551500", "0018774551500"),
        ("callerid", "+12063389999", "+12063389999"),
        ("call_fail_sip_code", "007", "007"),
        ("callerid_country", "N/A", "N/A"),
        ("unknown column", "37.5", "37.5"),
        *((column, "", None) for column in (*COLUMNS, "unknown column")),
    ],
)
def test_value_is_parsed_by_the_type_of_its_column(column, text, value):
    read = parse_value(column, text)

    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("column", "text", "expected"),
    [
        ("start_time", "2019-06-25 18:18:54", "a time such as"),
        ("start_time", "yesterday", "a time such as"),
        ("total_cost", "0.123456789", "8 after"),
        ("total_cost", "12345678901.1", "10 digits before"),
        ("total_cost", "1e40", "10 digits before"),
        ("total_cost", "NaN", "US dollars"),
        ("rate", "free", "US dollars"),
        ("duration", "37.5", "a whole number of seconds"),
        ("duration", "2147483648", "fits 32 bits"),
        ("duration", "N/A", "a whole number of seconds"),
    ],
)
def test_value_that_does_not_fit_its_column_is_rejected(column, text, expected):
    with pytest.raises(ValueError, match=expected):
        parse_value(column, text)
