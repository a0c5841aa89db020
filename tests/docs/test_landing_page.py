"""The statements about the landed file in docs/columns.md and docs/landing.md are true."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from airflow_provider_flowroute.api.client import FlowrouteClient
from airflow_provider_flowroute.cdr.columns import COLUMNS, REQUIRED
from airflow_provider_flowroute.landing.arrow import type_of
from airflow_provider_flowroute.landing.pipeline import stage

KINDS = ("string", "timestamp", "decimal", "int32")
DOCS = Path(__file__).parents[2] / "docs"
COLUMNS_PAGE = (DOCS / "columns.md").read_text()
LANDING_PAGE = (DOCS / "landing.md").read_text()


def test_the_page_shows_the_schema_of_a_landed_file():
    written = re.findall(r"^\| `(\w+)` \| ([^|]+) \| [^|]*\| ([^|]+) \|$", COLUMNS_PAGE, re.MULTILINE)
    written = [row for row in written if row[0] in COLUMNS and row[1].split("[")[0].split("(")[0] in KINDS]
    names = [name for name, *_ in written]

    assert names == list(COLUMNS)
    for name, kind, meaning in written:
        assert kind == str(type_of(name)).replace("tz=", "").replace("decimal128", "decimal")
        assert ("Required" in meaning) == (name in REQUIRED)


def fetch(query: str) -> list[Any]:
    """Run a query in DuckDB and return its rows."""
    relation = duckdb.sql(query)
    assert relation is not None
    return relation.fetchall()


def test_the_duckdb_query_returns_the_totals_of_a_month(client: FlowrouteClient, tmp_path: Path):
    exports = []
    for day in range(1, 4):
        window = {
            "start_call_start_time": f"2026-11-{day:02d} 00:00:00",
            "start_call_end_time": f"2026-11-{day + 1:02d} 00:00:00",
        }
        exports.append(client.get_cdr_export(client.create_cdr_export(window).id))
        with client.open_cdr_export(exports[-1]) as download:
            stage(exports[-1], download, tmp_path / f"2026-11-{day:02d}.parquet", "parquet")
    [query] = re.findall(r'```sql title="DuckDB"\n(.*?)```', LANDING_PAGE, re.DOTALL)

    rows = fetch(query.replace("s3://my-lake/cdrs", str(tmp_path)))

    assert {direction.lower() for direction, *_ in rows} == {"inbound", "outbound"}
    assert sum(calls for _, calls, *_ in rows) == sum(export.num_calls or 0 for export in exports)
    assert abs(sum(usd for *_, usd in rows) - sum(export.total_cost or 0 for export in exports)) < Decimal(
        "0.00001"
    )
    columns = fetch(f"DESCRIBE SELECT * FROM '{tmp_path}/*.parquet'")
    types = {name: kind for name, kind, *_ in columns}
    assert (types["start_time"], types["total_cost"], types["duration"], types["destination"]) == (
        "TIMESTAMP WITH TIME ZONE",
        "DECIMAL(18,8)",
        "INTEGER",
        "VARCHAR",
    )
    [(first,)] = fetch(f"SELECT min(start_time) FROM '{tmp_path}/*.parquet'")
    assert datetime(2026, 11, 1, tzinfo=UTC) <= first < datetime(2026, 11, 2, tzinfo=UTC)
