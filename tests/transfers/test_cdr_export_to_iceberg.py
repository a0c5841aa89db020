from __future__ import annotations

import csv
import gzip
import io
import json
import logging
import subprocess
import sys
from unittest.mock import ANY

import duckdb
import pyarrow.parquet as pq
import pytest
import requests
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_flowroute.exceptions import (
    CdrExportIntegrityError,
    CdrExportLandingError,
    CdrExportMismatchError,
)
from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator
from airflow_provider_flowroute.transfers.cdr_export_to_iceberg import CdrExportToIcebergOperator
from tests.iceberg import (
    a_catalog,
    catalog_properties,
    connection_to_catalog,
    data_files,
    needs_sql_catalog,
    rows_in,
)
from tests.landing.values import typed_value
from tests.support import connection_json, serving_export

WEEK = {"start_call_start_time": "2026-11-01", "start_call_end_time": "2026-11-08"}


@pytest.fixture
def lake(tmp_path, monkeypatch):
    """A catalog, which is also the connection ``lake``."""
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", connection_to_catalog(tmp_path))
    return a_catalog(tmp_path)


def new_export(**window):
    return CreateCdrExportOperator(task_id="create", **(window or WEEK)).execute({})


def a_task(export_id="1", **options):
    options = {"table": "telephony.cdrs", "iceberg_conn_id": "lake", **options}
    return CdrExportToIcebergOperator(task_id="land", export_id=export_id, **options)


def land(export_id, **options):
    return a_task(export_id, **options).execute({})


def calls_of(flowroute, export_id):
    """The rows of an export's file as typed values, by ``cdr_id``."""
    rows = csv.DictReader(io.StringIO(flowroute.csv(export_id).decode(), newline=""))
    typed = [{name: typed_value(name, text) for name, text in row.items()} for row in rows]
    return sorted(typed, key=lambda row: row["cdr_id"])


@needs_sql_catalog
def test_a_new_table_has_the_exports_rows_as_typed_columns(flowroute, lake, tmp_path):
    export_id = new_export()

    landed = land(export_id)

    table = lake.load_table("telephony.cdrs")
    calls = calls_of(flowroute, export_id)
    assert rows_in(table) == calls
    assert landed == {
        **dict.fromkeys(("total_cost", "billed_minutes", "first_start", "last_start"), ANY),
        **dict.fromkeys(("without_start", "fees", "reconciliation"), ANY),
        "rows": len(calls),
        "table": "telephony.cdrs",
        "snapshot_id": str(table.current_snapshot().snapshot_id),
        "files": 7,
        "bytes": sum(path.stat().st_size for path in tmp_path.rglob("*.parquet")),
        "export_id": export_id,
    }
    assert [check["passed"] for check in landed["reconciliation"].values()] == [True] * 4


@needs_sql_catalog
def test_landing_a_window_twice_leaves_each_call_once(flowroute, lake):
    land(new_export())
    export_id = new_export()

    land(export_id)
    land(export_id)

    assert rows_in(lake.load_table("telephony.cdrs")) == calls_of(flowroute, export_id)


@needs_sql_catalog
def test_the_snapshot_says_export_window_totals_and_checks(flowroute, lake):
    export_id = new_export()

    landed = land(export_id)

    properties = lake.load_table("telephony.cdrs").current_snapshot().summary
    assert properties["flowroute.export_id"] == export_id
    assert properties["flowroute.window_start"] == "2026-11-01T00:00:00+00:00"
    assert properties["flowroute.window_end"] == "2026-11-08T00:00:00+00:00"
    totals = json.loads(properties["flowroute.totals"])
    assert totals == {name: landed[name] for name in totals}
    assert json.loads(properties["flowroute.reconciliation"]) == landed["reconciliation"]


@needs_sql_catalog
def test_each_data_file_names_its_export_and_one_utc_day(flowroute, lake, tmp_path):
    window = {
        "start_call_start_time": "2026-11-01T00:00:00-05:00",
        "start_call_end_time": "2026-11-02T00:00:00-05:00",
    }
    export_id = new_export(**window)

    land(export_id)

    files = sorted(data_files(tmp_path))
    assert [name.partition("-flowroute-")[0] for name in files] == ["2026-11-01", "2026-11-02"]
    assert all(f"-flowroute-{export_id}-" in name for name in files)
    [path] = tmp_path.rglob(files[0])
    assert pq.read_metadata(path).metadata[b"flowroute.window_start"] == b"2026-11-01T05:00:00+00:00"
    assert rows_in(lake.load_table("telephony.cdrs")) == calls_of(flowroute, export_id)


@needs_sql_catalog
@pytest.mark.flowroute(calls_per_day=0)
def test_a_window_without_calls_is_a_snapshot_without_files(flowroute, lake, tmp_path):
    landed = land(new_export())

    assert (landed["rows"], landed["files"], landed["bytes"]) == (0, 0, 0)
    assert landed["snapshot_id"] == str(lake.load_table("telephony.cdrs").current_snapshot().snapshot_id)
    assert data_files(tmp_path) == set()


@needs_sql_catalog
def test_duckdb_reads_the_table(flowroute, lake):
    landed = land(new_export())

    calls = lake.load_table("telephony.cdrs").scan().to_arrow()
    query = "SELECT count(*), sum(total_cost)::VARCHAR, typeof(any_value(start_time)) FROM calls"
    [row] = duckdb.sql(query).fetchall()  # type: ignore[union-attr]

    assert row == (landed["rows"], landed["total_cost"], "TIMESTAMP WITH TIME ZONE")
    assert calls.num_rows == landed["rows"]


@needs_sql_catalog
@pytest.mark.parametrize("named", [True, False])
def test_a_catalog_of_pyicebergs_configuration_is_used(flowroute, tmp_path, monkeypatch, named):
    from pyiceberg import catalog as pyiceberg_catalog
    from pyiceberg.utils.config import Config

    for name, value in catalog_properties(tmp_path).items():
        monkeypatch.setenv(f"PYICEBERG_CATALOG__{'PROD' if named else 'DEFAULT'}__{name.upper()}", value)
    monkeypatch.setattr(pyiceberg_catalog, "_ENV_CONFIG", Config())  # pyiceberg reads it at import

    landed = land(new_export(), iceberg_conn_id=None, catalog="prod" if named else None)

    catalog = pyiceberg_catalog.load_catalog("prod" if named else "default")
    assert len(rows_in(catalog.load_table("telephony.cdrs"))) == landed["rows"] > 0


@pytest.fixture
def s3(monkeypatch):
    """The properties of a file system on S3, with the bucket ``lake``."""
    from moto.server import ThreadedMotoServer

    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    _, port = moto.get_host_and_port()
    endpoint = f"http://127.0.0.1:{port}"
    requests.post(f"{endpoint}/moto-api/reset", timeout=10)
    requests.put(f"{endpoint}/lake", timeout=10)
    yield {
        "s3.endpoint": endpoint,
        "s3.access-key-id": "key",
        "s3.secret-access-key": "secret",
        "s3.region": "us-east-1",
    }
    moto.stop()


@needs_sql_catalog
def test_a_table_in_s3_is_replaced_through_its_own_file_system(flowroute, tmp_path, monkeypatch, s3):
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", connection_to_catalog(tmp_path, "s3://lake/tables", **s3))
    land(new_export())
    export_id = new_export()

    land(export_id)

    table = a_catalog(tmp_path, "s3://lake/tables", **s3).load_table("telephony.cdrs")
    assert table.location().startswith("s3://lake/tables/telephony")
    assert rows_in(table) == calls_of(flowroute, export_id)


def test_a_table_of_the_glue_catalog_is_replaced(flowroute, monkeypatch, s3):
    keys = {"glue.access-key-id": "key", "glue.secret-access-key": "secret", "glue.region": "us-east-1"}
    properties = {
        "type": "glue",
        "warehouse": "s3://lake/tables",
        "glue.endpoint": s3["s3.endpoint"],
        **keys,
        **s3,
    }
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps({"conn_type": "iceberg", "extra": properties}))
    land(new_export())
    export_id = new_export()

    land(export_id)

    from pyiceberg.catalog import load_catalog

    table = load_catalog("lake", **properties).load_table("telephony.cdrs")
    assert rows_in(table) == calls_of(flowroute, export_id)


@needs_sql_catalog
def test_a_missing_bucket_is_a_landing_error_with_export_and_table(flowroute, tmp_path, monkeypatch, s3):
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", connection_to_catalog(tmp_path, "s3://no-bucket/tables", **s3))
    export_id = new_export()

    with pytest.raises((CdrExportLandingError, AirflowFailException)) as error:
        land(export_id)

    first = str(error.value).splitlines()[0]
    assert first == f"Export {export_id} cannot be written to telephony.cdrs."
    assert flowroute.exports[0].downloads == 0


@needs_sql_catalog
@pytest.mark.parametrize(
    ("fault", "options", "error"),
    [
        ("truncated_gzip", {}, CdrExportIntegrityError),
        ("wrong_num_calls", {"delta": 1}, CdrExportMismatchError),
        ("wrong_total_cost", {"delta": "0.000002"}, CdrExportMismatchError),
    ],
)
def test_after_a_failed_check_the_table_is_unchanged(flowroute, lake, tmp_path, fault, options, error):
    land(first := new_export())
    files = data_files(tmp_path)
    flowroute.add_fault(fault, times=None, **options)

    with pytest.raises(error, match=r"telephony\.cdrs is unchanged"):
        land(new_export())

    assert rows_in(lake.load_table("telephony.cdrs")) == calls_of(flowroute, first)
    assert data_files(tmp_path) == files


@needs_sql_catalog
def test_warn_lands_a_file_that_does_not_match(flowroute, lake):
    flowroute.add_fault("wrong_num_calls", times=None, delta=1)

    landed = land(new_export(), on_mismatch="warn")

    assert landed["reconciliation"]["rows"]["passed"] is False
    assert len(rows_in(lake.load_table("telephony.cdrs"))) == landed["rows"]


COLUMNS = "direction,start_time,destination,callerid"


@needs_sql_catalog
@pytest.mark.parametrize("start", ["2019-06-26 00:00:00+00", ""])
def test_calls_outside_the_window_never_land(lake, monkeypatch, start):
    """A later landing of the window would not replace them."""
    with serving_export(gzip.compress(f"{COLUMNS}\nInbound,{start},1,2\n".encode())) as server:
        monkeypatch.setenv("AIRFLOW_CONN_FLOWROUTE_DEFAULT", connection_json(server.url))
        with pytest.raises(CdrExportMismatchError, match="1 row of the file did not start in the window"):
            land("1", on_mismatch="warn")

    assert lake.load_table("telephony.cdrs").snapshots() == []


@needs_sql_catalog
def test_an_export_without_a_window_fails_before_its_download(lake, monkeypatch):
    with serving_export(b"", filter_parameters=None) as server:
        monkeypatch.setenv("AIRFLOW_CONN_FLOWROUTE_DEFAULT", connection_json(server.url))
        with pytest.raises(AirflowFailException, match="Flowroute did not report its window"):
            land("1")

    assert [path for _, path, _ in server.requests if path == "/file"] == []


@needs_sql_catalog
def test_a_table_that_does_not_fit_fails_before_the_download(flowroute, lake):
    from pyiceberg.schema import Schema
    from pyiceberg.types import DoubleType, NestedField

    lake.create_namespace("telephony")
    lake.create_table("telephony.cdrs", Schema(NestedField(1, "total_cost", DoubleType())))

    with pytest.raises(AirflowFailException, match=r"Column total_cost of table telephony\.cdrs"):
        land(new_export())

    assert flowroute.exports[0].downloads == 0


@needs_sql_catalog
def test_a_new_column_of_the_file_is_added_to_the_table(lake, monkeypatch):
    lines = f"{COLUMNS},stir_shaken\nInbound,2019-06-25 00:00:00+00,1,2,A\n"
    with serving_export(gzip.compress(lines.encode())) as server:
        monkeypatch.setenv("AIRFLOW_CONN_FLOWROUTE_DEFAULT", connection_json(server.url))
        land("1")

    [row] = lake.load_table("telephony.cdrs").scan().to_arrow().to_pylist()
    assert (row["stir_shaken"], row["callerid"], row["total_cost"]) == ("A", "2", None)


@needs_sql_catalog
def test_overwrite_false_keeps_the_calls_and_downloads_nothing(flowroute, lake):
    land(first := new_export(), overwrite=False)

    with pytest.raises(AirflowFailException, match="has calls of the window, and overwrite is False"):
        land(new_export(), overwrite=False)

    assert flowroute.exports[-1].downloads + flowroute.exports[0].downloads == 1
    assert rows_in(lake.load_table("telephony.cdrs")) == calls_of(flowroute, first)


@needs_sql_catalog
def test_if_changed_downloads_nothing_if_the_figures_are_equal(flowroute, lake):
    first = land(new_export(), overwrite="if_changed")
    export_id = new_export()

    second = land(export_id, overwrite="if_changed")

    assert (first["changed"], first["difference"]) == (True, None)
    assert second == first | {"export_id": export_id, "changed": False}
    assert [export.downloads for export in flowroute.exports].count(0) == 1
    assert len(lake.load_table("telephony.cdrs").snapshots()) == 1


@needs_sql_catalog
def test_if_changed_lands_late_calls_and_says_which(lake, monkeypatch, caplog, capsys):
    caplog.set_level(logging.INFO)
    header, when = f"{COLUMNS},total_cost,billed_duration,cdr_id", "2019-06-25 10:00:00+00"
    old = [f"Inbound,{when},1,2,0.5,60,{name}" for name in "abc"]
    new = [
        old[0],
        f"Inbound,{when},1,2,0.75,60,b",
        f"Inbound,{when},1,2,1,30,d",
        f"Inbound,{when},1,2,1,30,e",
    ]
    for lines, cost in ((old, "1.5"), (new, "3.25")):
        content = gzip.compress("\n".join([header, *lines, ""]).encode())
        with serving_export(content, num_calls=len(lines), total_cost=cost) as server:
            monkeypatch.setenv("AIRFLOW_CONN_FLOWROUTE_DEFAULT", connection_json(server.url))
            landed = land("1", overwrite="if_changed")

    assert landed["changed"] is True
    assert landed["difference"] == {
        "rows": 1,
        "total_cost": "1.75000000",
        "billed_minutes": "0.00",
        "new": 2,
        "gone": 1,
        "changed": 1,
        "cdr_ids": {"new": ANY, "gone": ["c"], "changed": ["b"]},
    }
    assert sorted(landed["difference"]["cdr_ids"]["new"]) == ["d", "e"]
    assert "Export 1 changed the landed calls: +1 rows" in caplog.text + capsys.readouterr().out
    assert [row["cdr_id"] for row in rows_in(lake.load_table("telephony.cdrs"))] == ["a", "b", "d", "e"]


@needs_sql_catalog
def test_if_changed_commits_nothing_if_only_a_figure_differs(lake, monkeypatch):
    content = gzip.compress(f"{COLUMNS},billed_duration\nInbound,2019-06-25 10:00:00+00,1,2,60\n".encode())
    results = []
    for minutes in ("1.00", "2.00"):
        with serving_export(content, num_calls=1, billed_minutes=minutes) as server:
            monkeypatch.setenv("AIRFLOW_CONN_FLOWROUTE_DEFAULT", connection_json(server.url))
            results.append(land("1", overwrite="if_changed"))
            assert "/file" in [path for _, path, _ in server.requests]

    assert [landed["changed"] for landed in results] == [True, False]
    assert len(lake.load_table("telephony.cdrs").snapshots()) == 1


@needs_sql_catalog
def test_if_changed_lands_a_window_that_another_program_changed(flowroute, lake):
    land(new_export(), overwrite="if_changed")
    table = lake.load_table("telephony.cdrs")
    table.delete("start_time < '2026-11-02T00:00:00+00:00'")
    export_id = new_export()

    landed = land(export_id, overwrite="if_changed")

    assert (landed["changed"], landed["difference"]) == (True, None)
    assert rows_in(table.refresh()) == calls_of(flowroute, export_id)


@needs_sql_catalog
def test_openlineage_gets_the_table_its_columns_and_the_checks(flowroute, lake):
    task = a_task(new_export())

    landed = task.execute({})

    lineage = task.get_openlineage_facets_on_complete(None)
    [output], [source] = lineage.outputs, lineage.inputs
    location = lake.load_table("telephony.cdrs").location()
    assert (output.namespace, output.name) == ("file", location.removeprefix("file://"))
    assert (output.outputFacets["outputStatistics"].rowCount) == landed["rows"]
    assert ("rate", "decimal128(18, 8)") in [(f.name, f.type) for f in output.facets["schema"].fields]
    assert all(check.success for check in source.inputFacets["dataQualityAssertions"].assertions)


@needs_sql_catalog
def test_the_log_names_export_figures_table_and_snapshot(flowroute, lake, caplog, capsys):
    caplog.set_level(logging.INFO)

    landed = land(new_export())

    text = caplog.text + capsys.readouterr().out
    expected = f"Landed export {landed['export_id']}: {landed['rows']} calls, {landed['billed_minutes']} billed minutes"
    assert expected in text
    assert f"7 files in table telephony.cdrs, snapshot {landed['snapshot_id']}." in text


@pytest.mark.parametrize("table", ["cdrs", "", ".cdrs", "telephony.", "telephony.None", "None"])
def test_a_name_without_a_namespace_fails_when_the_dag_is_parsed(table):
    with pytest.raises(AirflowFailException, match="which names no table"):
        a_task(table=table)


def test_a_rendered_name_without_a_namespace_fails_before_a_request(flowroute):
    task = a_task(table="{{ params.table }}")
    task.table = "None"

    with pytest.raises(AirflowFailException, match="table is 'None'"):
        task.execute({})

    assert flowroute.requests == []


def test_two_catalogs_fail_when_the_dag_is_parsed():
    with pytest.raises(AirflowFailException, match="catalog and iceberg_conn_id are both set"):
        a_task(catalog="prod")


def test_an_unknown_overwrite_option_fails_when_the_dag_is_parsed():
    with pytest.raises(AirflowFailException, match="overwrite is 'maybe'"):
        a_task(overwrite="maybe")


def test_an_unknown_mismatch_option_fails_when_the_dag_is_parsed():
    with pytest.raises(AirflowFailException, match="on_mismatch is 'ignore'"):
        a_task(on_mismatch="ignore")


def test_a_catalog_without_configuration_is_a_permanent_error(flowroute):
    with pytest.raises(AirflowFailException, match="pyiceberg cannot load the catalog 'nowhere'") as error:
        land(new_export(), iceberg_conn_id=None, catalog="nowhere")

    assert "PYICEBERG_CATALOG__NOWHERE__URI" in str(error.value)


def test_conn_ids_and_names_are_templated():
    fields = CdrExportToIcebergOperator.template_fields
    assert fields == ("export_id", "table", "catalog", "iceberg_conn_id", "flowroute_conn_id")


def test_parsing_a_dag_imports_no_large_library():
    code = (
        "import sys, airflow_provider_flowroute.transfers.cdr_export_to_iceberg;"
        "print([name for name in ('pyiceberg', 'pyarrow') if name in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert printed.splitlines()[-1] == "[]"
