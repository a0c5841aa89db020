"""The query and the comparison of the page about the layout of a lake are right."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from airflow_provider_flowroute.api.client import FlowrouteClient
from airflow_provider_flowroute.cdr.window import Window, format_instant
from airflow_provider_flowroute.landing.partitions import days_of, stage_days
from airflow_provider_flowroute.landing.pipeline import stage

from .test_landing_page import fetch

PAGE = (Path(__file__).parents[2] / "docs" / "lake-layout.md").read_text()


def land(client: FlowrouteClient, lake: Path) -> tuple[list[str], list[str]]:
    """Land three days as one file and as day files; return the paths of both."""
    window = Window("2026-11-01", "2026-11-04")  # type: ignore[arg-type]
    parameters = {
        "start_call_start_time": format_instant(window.start),
        "start_call_end_time": format_instant(window.end),
    }
    export = client.get_cdr_export(client.create_cdr_export(parameters).id)
    with client.open_cdr_export(export) as download:
        stage(export, download, lake / "from-2026-11-01.parquet", "parquet")
    with client.open_cdr_export(export) as download:
        _, files = stage_days(export, download, lake, days_of(export, "UTC"))
    for file in files:
        (lake / f"date={file.day}").mkdir()
        file.path.rename(lake / f"date={file.day}" / "cdrs.parquet")
    return [str(lake / "from-2026-11-01.parquet")], [
        str(lake / f"date={window.start + timedelta(days=day):%Y-%m-%d}" / "cdrs.parquet") for day in range(3)
    ]


def test_the_duckdb_query_has_one_row_for_each_day(client: FlowrouteClient, tmp_path: Path):
    land(client, tmp_path)
    [query] = re.findall(r'```sql title="DuckDB"\n(.*?)```', PAGE, re.DOTALL)

    rows = fetch(query.replace("s3://my-lake/cdrs", str(tmp_path)))

    expected = fetch(
        "SELECT CAST(timezone('UTC', start_time) AS DATE), count(*), sum(total_cost) "
        f"FROM '{tmp_path}/from-2026-11-01.parquet' GROUP BY ALL"
    )
    assert sorted((str(day), calls, usd) for day, calls, usd in rows) == sorted(
        (str(day), calls, usd) for day, calls, usd in expected
    )


def test_the_comparison_of_a_migration_shows_equal_totals(client: FlowrouteClient, tmp_path: Path):
    old, new = land(client, tmp_path)
    [code] = re.findall(r"    ```python\n(.*?)    ```", PAGE, re.DOTALL)
    namespace: dict[str, Any] = {}

    exec("\n".join(line.removeprefix("    ") for line in code.splitlines()), namespace)

    totals = namespace["landed_totals"](old)
    assert totals == namespace["landed_totals"](new)
    assert totals.rows > 0
    assert totals.total_cost > Decimal(0)
