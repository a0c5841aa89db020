"""The columns of an export's file."""

from __future__ import annotations

from airflow_provider_flowroute.cdr.columns import COLUMNS, MONEY, REQUIRED, SECONDS, TIMES


def test_the_29_columns_begin_with_the_25_of_older_files():
    assert len(COLUMNS) == len(set(COLUMNS)) == 29
    assert COLUMNS[0] == "direction"
    assert COLUMNS[24] == "customer_ip"
    assert COLUMNS[25:] == ("sip_callid", "cdr_id", "sip_from_tag", "sip_to_tag")
    assert set(REQUIRED) | MONEY | SECONDS | TIMES <= set(COLUMNS)
