"""The recipes load a day into a warehouse. A repeated run changes nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.airflow.recipes import blocks
from tests.docs.blocks import CHECKOUT

pytestmark = [pytest.mark.e2e_warehouses, pytest.mark.timeout(180)]

LANDING_PAGE = CHECKOUT / "docs" / "landing.md"
#: The figures of a table.
FIGURES = "SELECT count(*), sum(total_cost), min(start_time), max(start_time) FROM cdrs"
#: The run loads the calls of the day before.
RUN_AT = datetime(2026, 11, 20, tzinfo=UTC)
DAY = datetime(2026, 11, 19, tzinfo=UTC)


def assert_is_the_day(figures: Any, export: Any) -> None:
    """Compare the figures of a table with an export of the simulated account."""
    rows, cost, first, last = figures  # fakesnow adds up as floating point
    assert rows == export.totals.num_calls > 0
    assert round(Decimal(cost), 8) == export.totals.money["total_cost"]
    first, last = (time if time.tzinfo else time.replace(tzinfo=UTC) for time in (first, last))
    assert DAY <= first <= last < RUN_AT


def test_postgres_has_the_same_rows_after_a_second_run(flowroute, recipes, run_dag, postgres, monkeypatch):
    import psycopg

    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", postgres)
    [create] = blocks("sql", "Postgres")
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(create)
        connection.execute(
            "INSERT INTO cdrs (start_time) VALUES ('2026-11-18 23:59:59Z'), ('2026-11-20 00:00Z')"
        )
        for _ in range(2):
            assert run_dag(recipes["flowroute_cdrs_to_postgres"], RUN_AT).state == "success"

            figures = connection.execute(
                f"{FIGURES} WHERE start_time >= '2026-11-19Z' AND start_time < '2026-11-20Z'"
            ).fetchone()
            assert_is_the_day(figures, flowroute.exports[-1])
            assert connection.execute("SELECT count(*) FROM cdrs").fetchone() == (figures[0] + 2,)


def test_postgres_keeps_the_old_day_if_the_copy_fails(flowroute, recipes, run_dag, postgres, monkeypatch):
    import psycopg

    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", postgres)
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS cdrs")
        connection.execute("CREATE TABLE cdrs (start_time timestamptz)")
        connection.execute("INSERT INTO cdrs VALUES ('2026-11-19 12:00Z')")

        assert run_dag(recipes["flowroute_cdrs_to_postgres"], RUN_AT).states["load"] == "failed"

        assert connection.execute("SELECT count(*) FROM cdrs").fetchone() == (1,)
        connection.execute("DROP TABLE cdrs")


@pytest.fixture
def snowflake(lake: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Yield a connection to an emulator of Snowflake with the table and the stage of the recipe."""
    import fakesnow
    from snowflake import connector

    extra = {"account": "fake", "database": "TELEPHONY", "schema": "PUBLIC"}
    connection = {"conn_type": "snowflake", "login": "user", "password": "password", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_SNOWFLAKE_DEFAULT", json.dumps(connection))
    with (
        fakesnow.patch(),
        connector.connect(database="TELEPHONY", schema="PUBLIC") as snowflake,
    ):
        create, _ = blocks("sql", "Snowflake")
        snowflake.cursor().execute(create)
        snowflake.cursor().execute(f"CREATE STAGE lake URL = 'file://{lake.parent}/'")
        yield snowflake


def test_snowflake_has_the_same_rows_after_a_second_run(flowroute, recipes, run_dag, snowflake):
    _, by_direction = blocks("sql", "Snowflake")
    for _ in range(2):
        assert run_dag(recipes["flowroute_cdrs_to_snowflake"], RUN_AT).state == "success"

        assert_is_the_day(snowflake.cursor().execute(FIGURES).fetchone(), flowroute.exports[-1])
        rows = snowflake.cursor().execute(by_direction).fetchall()
        assert sorted(direction for direction, *_ in rows) == ["inbound", "outbound"]


def test_bigquery_job_replaces_the_partition_of_the_day(recipes):
    """Not run: no emulator of BigQuery loads Parquet into a partition."""
    load = recipes["flowroute_cdrs_to_bigquery"].get_task("load")

    load.render_template_fields({"data_interval_start": RUN_AT})

    job = load.configuration["load"]
    assert job["destinationTable"]["tableId"] == "cdrs$20261120"
    assert job["sourceUris"] == ["gs://my-lake/cdrs/2026-11-20.parquet"]
    assert job["writeDisposition"] == "WRITE_TRUNCATE"


@pytest.fixture
def month(flowroute: Any, recipes: Any, run_dag: Any, lake: Path) -> tuple[Path, int]:
    """The files of three landed days, and how many calls they have."""
    calls = 0
    for day in (2, 3, 4):
        outcome = run_dag(recipes["flowroute_cdrs_produced"], datetime(2026, 11, day, tzinfo=UTC))
        assert outcome.state == "success"
        calls += outcome.xcoms["land"]["rows"]
    return lake, calls


def test_duckdb_query_returns_the_calls_of_the_month(month):
    import duckdb

    lake, calls = month
    [query] = blocks("sql", "DuckDB", LANDING_PAGE)
    query = query.replace("s3://my-lake/cdrs/2026-11-*", f"{lake}/2026-11-0*")

    first, second = (sorted(duckdb.execute(query).fetchall()) for _ in range(2))

    assert [direction for direction, *_ in first] == ["inbound", "outbound"]
    assert sum(count for _, count, *_ in first) == calls
    assert first == second


def test_clickhouse_query_returns_the_calls_of_the_month(month):
    import chdb

    lake, calls = month
    [query] = blocks("sql", "ClickHouse", LANDING_PAGE)
    query = query.replace("s3('https://my-lake.s3.amazonaws.com/cdrs/2026-11-*", f"file('{lake}/2026-11-0*")

    first, second = (
        sorted(json.loads(line) for line in str(chdb.query(query, "JSONCompactEachRow")).splitlines())
        for _ in range(2)
    )

    assert [direction for direction, *_ in first] == ["inbound", "outbound"]
    assert sum(int(count) for _, count, *_ in first) == calls
    assert first == second
