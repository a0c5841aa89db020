"""The task pages of a run: the log and the link to the landed file."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow_standalone import AIRFLOW_2
from playwright.sync_api import expect

pytestmark = [pytest.mark.e2e_ui, pytest.mark.timeout(400)]

DAG_ID, RUN_ID = "flowroute_to_s3", "to_s3"


@pytest.fixture(scope="module", autouse=True)
def _run(ui: Any) -> None:
    """Run the DAG that lands a day."""
    ui.add("flowroute_for_s3", ui.flowroute.secret_key)
    date = "--exec-date" if AIRFLOW_2 else "--logical-date"
    ui.cli("dags", "trigger", DAG_ID, "--run-id", RUN_ID, date, datetime.now(UTC).isoformat())
    assert ui.state_of(RUN_ID) == "success"


def test_the_landing_links_to_its_file_in_the_cloud_console(pages: Any):
    pages.open_task(DAG_ID, RUN_ID, "land", "details")

    link = pages.page.locator("a", has_text="Landed file")
    expect(link).to_have_attribute(
        "href", "https://console.aws.amazon.com/s3/object/my-lake?prefix=cdrs/2019-06-25.csv"
    )


@pytest.mark.skipif(AIRFLOW_2, reason="Airflow 2 adds many lines of its own")
def test_the_logs_show_each_step_in_order_and_no_other_line(pages: Any, ui: Any):
    logs = {}
    for task in ("create", "wait", "land"):
        pages.open_task(DAG_ID, RUN_ID, task, "")
        expect(pages.page.get_by_text("Post Execute")).to_be_visible()
        text = pages.page.inner_text("body")
        logs[task] = re.findall(r"\] ((?:INFO|WARNING|ERROR) - .*)", text)

    export_id = ui.flowroute.exports[-1].id
    assert logs == {
        "create": [
            "INFO - Requesting the calls of 2019-06-25 00:00:00 .. 2019-06-26 00:00:00 UTC "
            "(filters: direction: inbound).",
            f"INFO - Created export {export_id}.",
        ],
        "wait": [
            f"INFO - Export {export_id} is completed: 1 call, 0.5 billed minutes, 0.004748 USD.",
            "INFO - Success criteria met. Exiting.",  # Airflow's own
        ],
        "land": [
            "WARNING - The file lacks the columns sip_callid, cdr_id, sip_from_tag, sip_to_tag. In Parquet they are "
            "null.",
            f"INFO - Check of export {export_id}: rows 1, expected 1 (passed)",
            f"INFO - Check of export {export_id}: total_cost 0.00474784, expected 0.004748 (passed)",
            f"INFO - Check of export {export_id}: start_time 2019-06-25T18:18:00+00:00/2019-06-25T18:18:00+00:00, "
            "expected 2019-06-25T00:00:00+00:00/2019-06-26T00:00:00+00:00 (passed)",
            f"INFO - Check of export {export_id}: cdr_id none, expected 0 (not checked: older files have no column "
            "cdr_id)",
            f"INFO - Landed export {export_id}: 1 call, 0.50 billed minutes, 0.00474784 USD, 553 bytes in 1 file at "
            "s3://aws_default@my-lake/cdrs/2019-06-25.csv.",
        ],
    }
