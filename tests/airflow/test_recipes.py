"""The DAGs of the guides, unchanged: which calls they request, and where these land."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer

from airflow_provider_flowroute.simulator import FlowrouteSimulator

from .conftest import AIRFLOW_2
from .recipes import parse_dags
from .test_dags import event_extras

try:
    from airflow.sdk.io import store
except ImportError:  # Airflow 2
    from airflow.io import store

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(180)]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that the guides call /data/cdrs."""
    return tmp_path_factory.mktemp("lake")


@pytest.fixture(scope="module")
def recipes(airflow_db: None, lake: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The DAGs of the guides by ID."""
    return parse_dags(tmp_path_factory.mktemp("dags") / "recipes.py", data=lake)


def landed(path: Path) -> int:
    return pq.read_metadata(path).num_rows


@pytest.mark.parametrize(
    ("name", "run_at", "start", "end", "file"),
    [
        ("settled", "2026-11-20", "2026-11-16", "2026-11-17", "2026-11-16"),
        ("new_york", "2026-11-20T05:00", "2026-11-19T05:00", "2026-11-20T05:00", "2026-11-19"),
        # The days of 23 and 25 hours.
        ("new_york", "2026-03-09T04:00", "2026-03-08T05:00", "2026-03-09T04:00", "2026-03-08"),
        ("new_york", "2026-11-02T05:00", "2026-11-01T04:00", "2026-11-02T05:00", "2026-11-01"),
        ("hourly", "2026-11-20T14:00", "2026-11-20T13:00", "2026-11-20T14:00", "hourly/2026-11-20T13"),
    ],
)
def test_recipe_lands_a_window_in_the_file_named_after_it(
    flowroute, recipes, run_dag, lake, name, run_at, start, end, file
):
    outcome = run_dag(recipes[f"flowroute_cdrs_{name}"], at(run_at))

    assert outcome.state == "success"
    [export] = flowroute.exports
    assert (export.start, export.end) == (at(start), at(end))
    assert outcome.xcoms["land"]["path"] == f"{lake}/{file}.parquet"
    assert landed(lake / f"{file}.parquet") == outcome.xcoms["land"]["rows"] == export.totals.num_calls > 0


def test_run_without_an_interval_uses_the_window_in_its_params(flowroute, recipes, run_dag):
    without_interval = {} if AIRFLOW_2 else {"logical_date": None}  # Airflow 2 has no such run

    outcome = run_dag(
        recipes["flowroute_cdrs_of_a_window"], **without_interval, conf={"start": "2025-12-31 06:00:00"}
    )

    assert outcome.state == "success"
    [export] = flowroute.exports
    assert (export.start, export.end) == (at("2025-12-31T06:00"), at("2026-01-02T11:00"))


def test_accounts_land_their_own_calls(recipes, run_dag, lake, monkeypatch):
    with FlowrouteSimulator(seed=1) as us, FlowrouteSimulator(seed=2) as emea:
        monkeypatch.setenv("AIRFLOW_CONN_FLOWROUTE_US", us.connection_json)
        monkeypatch.setenv("AIRFLOW_CONN_FLOWROUTE_EMEA", emea.connection_json)
        outcome = run_dag(recipes["flowroute_cdrs_of_all_accounts"], at("2026-11-20"))

        assert outcome.state == "success"
        for name, account in (("us", us), ("emea", emea)):
            [export] = account.exports
            assert export.totals is not None
            assert landed(lake / name / "2026-11-19.parquet") == export.totals.num_calls > 0


@pytest.mark.parametrize(
    ("day", "at_least", "filters"),
    # Different days, because Airflow 2 does not run the same day twice here.
    [("2026-11-20", 0.5, {"cost_greater_than": 0.5}), ("2026-11-21", None, {})],
)
def test_optional_filter_without_a_value_is_omitted(flowroute, recipes, run_dag, day, at_least, filters):
    outcome = run_dag(recipes["flowroute_cdrs_abroad"], at(day), conf={"at_least_usd": at_least})

    assert outcome.state == "success"
    [export] = flowroute.exports
    requested = {name: value for name, value in export.filter_parameters.items() if "call_" not in name}
    assert requested == {
        "direction": "outbound",
        "destination_countries_excluded": ["US", "CA"],
        "exclude_cancelled": True,
        **filters,
    }


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A local S3 server with the bucket of the guides."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    # Airflow caches the store of a connection, also from an earlier test.
    monkeypatch.setattr(store, "_STORE_CACHE", {})
    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    _, port = moto.get_host_and_port()
    endpoint = {"endpoint_url": f"http://127.0.0.1:{port}", "region_name": "us-east-1"}
    connection = {"conn_type": "aws", "login": "key", "password": "secret", "extra": endpoint}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    client = boto3.client("s3", **endpoint, aws_access_key_id="key", aws_secret_access_key="secret")
    client.create_bucket(Bucket="my-lake")
    yield client
    moto.stop()


def test_asset_event_of_an_s3_landing_has_its_path(flowroute, recipes, run_dag, s3):
    dag = recipes["flowroute_cdrs_produced"]

    outcome = run_dag(dag, at("2026-11-20"))

    assert outcome.state == "success"
    [extra] = event_extras(dag.dag_id)
    assert extra["path"] == "s3://aws_default@my-lake/cdrs/2026-11-19.parquet"
    assert extra["rows"] == flowroute.exports[0].totals.num_calls
    [stored] = s3.list_objects_v2(Bucket="my-lake")["Contents"]
    assert (stored["Key"], stored["Size"]) == ("cdrs/2026-11-19.parquet", extra["bytes"])
