"""The form of a connection, as a user sees it under Admin > Connections."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from typing import Any

import pyarrow.parquet as pq
import pytest
from airflow_standalone import AIRFLOW_2

from airflow_provider_flowroute import CONNECTION_FIELDS

from .pages import picture

pytestmark = [pytest.mark.e2e_ui, pytest.mark.timeout(400)]

VERSION = "2.11" if AIRFLOW_2 else "3"


def test_flowroute_is_a_connection_type(pages: Any):
    pages.open_form()

    assert "Flowroute" in pages.types()


def test_the_form_uses_flowroutes_terms_and_hides_unused_fields(pages: Any):
    pages.open_form()
    pages.choose_type("Flowroute")

    assert pages.standard_fields() == ["Description", "API URL", "Access Key", "Secret Key"]
    assert pages.placeholder_of_host() == "https://api.flowroute.com (leave empty for this)"


def test_each_extra_is_a_field_with_label_and_help(pages: Any, ui: Any):
    pages.open_form()
    pages.fill("flowroute_default", "", "ACCESS_KEY", "SECRET_KEY")
    picture(ui.pictures / f"connection-form-{VERSION}.png", pages.page, pages.form)

    assert pages.extra_fields() == {
        name: (field["label"], field["description"]) for name, field in CONNECTION_FIELDS.items()
    }
    if not AIRFLOW_2:
        picture(ui.pictures / "connection-extras-3.png", pages.page, pages.form)


def test_a_connection_saved_in_the_form_works_in_a_dag_run(pages: Any, ui: Any):
    flowroute = ui.flowroute
    pages.open_form()
    pages.fill("flowroute_default", flowroute.url, flowroute.access_key, flowroute.secret_key)
    pages.set_extra("retries", "2")
    pages.save()

    now, conf = datetime.now(UTC).isoformat(), json.dumps({"late_calls_hours": 0})
    date = "--exec-date" if AIRFLOW_2 else "--logical-date"
    ui.cli("dags", "trigger", "flowroute_daily_cdrs", "--run-id", "by_hand", "--conf", conf, date, now)

    assert ui.state_of("by_hand") == "success"
    [landed] = ui.lake.glob("*/cdrs.parquet")
    calls = csv.DictReader(io.StringIO(flowroute.csv(flowroute.exports[-1].id).decode(), newline=""))
    assert pq.read_table(landed).column("cdr_id").to_pylist() == [call["cdr_id"] for call in calls]
    assert extra_of(ui, "flowroute_default")["retries"] in (2, "2")
    if not AIRFLOW_2:
        pages.page.set_viewport_size({"width": 1280, "height": 560})
        tasks = ("late_calls", "create", "wait", "land", "report")
        pages.open_graph("flowroute_daily_cdrs", "by_hand", tasks)
        picture(ui.pictures / "dag-3.png", pages.page, pages.page.locator("body"))


def extra_of(ui: Any, conn_id: str) -> dict[str, Any]:
    """Return the extra of a connection, as a task reads it."""
    shown = json.loads(ui.cli("connections", "get", conn_id, "--output", "json"))[0]["extra_dejson"]
    return dict(shown if isinstance(shown, dict) else json.loads(shown))
