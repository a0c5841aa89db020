"""The DAG of docs/iceberg.md, unchanged, run on a real Airflow."""

from __future__ import annotations

import pytest

from tests.docs.blocks import CHECKOUT
from tests.iceberg import a_catalog, connection_to_catalog, needs_sql_catalog

from .recipes import parse_dags
from .test_dags import event_extras

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(180), needs_sql_catalog]


def test_the_dag_lands_its_day_and_late_calls_of_an_earlier_day(flowroute, run_dag, tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_ICEBERG_DEFAULT", connection_to_catalog(tmp_path))
    dag = parse_dags(tmp_path / "dag.py", CHECKOUT / "docs" / "iceberg.md")["flowroute_cdrs_to_iceberg"]

    outcome = run_dag(dag)

    assert set(outcome.states.values()) == {"success"}
    landed, late = (outcome.xcoms[task_id] for task_id in ("land", "land_late"))
    assert (late["changed"], late["difference"]) == (True, None)
    table = a_catalog(tmp_path, name="iceberg_default").load_table("telephony.cdrs")
    assert (
        table.scan().count()
        == landed["rows"] + late["rows"]
        == sum(export.totals.num_calls for export in flowroute.exports)
    )
    [extra] = event_extras(dag.dag_id)
    assert (extra["table"], extra["rows"]) == ("telephony.cdrs", landed["rows"])
