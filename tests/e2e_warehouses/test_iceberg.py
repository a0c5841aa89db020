"""DuckDB's own extension reads a landed Iceberg table, with the query of docs/iceberg.md."""

from __future__ import annotations

import json
import re
import subprocess
from decimal import Decimal

import pytest

from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator
from airflow_provider_flowroute.transfers.cdr_export_to_iceberg import CdrExportToIcebergOperator
from tests.airflow.recipes import blocks
from tests.docs.blocks import CHECKOUT
from tests.iceberg import a_catalog, connection_to_catalog

pytestmark = [pytest.mark.e2e_warehouses, pytest.mark.timeout(180)]

#: `make e2e-warehouses` creates it.
PYTHON = CHECKOUT / ".venv-e2e-duckdb" / "bin" / "python"
PROGRAM = """
import json, sys, duckdb, duckdb_extension_avro, duckdb_extension_iceberg
from pathlib import Path
connection = duckdb.connect()
for extension in (duckdb_extension_avro, duckdb_extension_iceberg):
    [file] = Path(extension.__file__).parent.rglob("*.duckdb_extension")
    connection.execute(f"LOAD '{file}'")
print(json.dumps(connection.execute(sys.argv[1]).fetchall(), default=str))
"""


def test_duckdb_reads_only_the_last_landing_of_a_window(flowroute, tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", connection_to_catalog(tmp_path))
    for _ in range(2):
        create = CreateCdrExportOperator(
            task_id="create", start_call_start_time="2026-11-01", start_call_end_time="2026-11-08"
        )
        landed = CdrExportToIcebergOperator(
            task_id="land", export_id=create.execute({}), table="telephony.cdrs", iceberg_conn_id="lake"
        ).execute({})
    location = a_catalog(tmp_path).load_table("telephony.cdrs").metadata_location
    query = blocks("sql", "DuckDB", CHECKOUT / "docs" / "iceberg.md")[0]
    query = re.sub(r"'s3://[^']*'", f"'{location}'", query)

    output = subprocess.run([PYTHON, "-c", PROGRAM, query], check=True, capture_output=True, text=True).stdout

    rows = json.loads(output)
    assert {row[0] for row in rows} == {"inbound", "outbound"}
    assert sum(row[1] for row in rows) == landed["rows"]
    assert sum(Decimal(row[3]) for row in rows) == Decimal(landed["total_cost"])
