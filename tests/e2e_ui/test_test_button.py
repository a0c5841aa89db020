"""The Test button: it succeeds for correct keys, explains wrong keys, and never shows a key."""

from __future__ import annotations

from typing import Any

import pytest
from airflow_standalone import AIRFLOW_2, api

from .pages import picture

pytestmark = [pytest.mark.e2e_ui, pytest.mark.timeout(400)]

airflow_2 = pytest.mark.skipif(not AIRFLOW_2, reason="Airflow 3 has no Test button in the form")
airflow_3 = pytest.mark.skipif(AIRFLOW_2, reason="Airflow 2 has no Test icon in the list")
WRONG = "a-wrong-key-that-nobody-may-see"


@airflow_2
def test_the_form_button_accepts_good_keys_and_explains_bad_ones(pages: Any, ui: Any):
    flowroute = ui.flowroute
    pages.open_form()
    pages.fill("my_flowroute", flowroute.url, flowroute.access_key, flowroute.secret_key)

    assert pages.test_in_form().strip() == f"Connected to {flowroute.url}. The keys are valid."
    assert "alert-success" in (pages.message.get_attribute("class") or "")

    pages.page.locator("#password").fill(WRONG)
    said = pages.test_in_form()

    assert "Check the connection's Access Key (login) and Secret Key (password)" in said
    assert WRONG not in said
    assert flowroute.secret_key not in pages.page.content()
    picture(ui.pictures / "connection-test-2.11.png", pages.page, pages.message)


@airflow_3
def test_the_icon_in_the_list_works_if_the_port_is_stored(pages: Any, ui: Any):
    ui.add("good_keys", ui.flowroute.secret_key)
    ui.add("bad_keys", WRONG)
    pages.page.set_viewport_size({"width": 1100, "height": 620})

    assert "Connected to" in pages.test_from_list("good_keys")
    said = pages.test_from_list("bad_keys")

    assert "Check the connection's Access Key (login) and Secret Key (password)" in said
    assert WRONG not in pages.page.content()
    picture(ui.pictures / "connection-test-3.png", pages.page, pages.row("bad_keys"), pages.message)


@airflow_3
@pytest.mark.xfail(
    strict=True, reason="3.3.2 sends port 0 for a connection without a port and then rejects it"
)
def test_the_icon_in_the_list_works_without_a_port(pages: Any, ui: Any):
    ui.add("no_port", ui.flowroute.secret_key, with_port=False)

    assert "Connected to" in pages.test_from_list("no_port")


@airflow_3
def test_the_rest_api_tests_the_saved_connection(ui: Any):
    ui.add("rest_good", ui.flowroute.secret_key, with_port=False)
    ui.add("rest_bad", WRONG, with_port=False)

    assert rest_test(ui, "rest_good") == (True, f"Connected to {ui.flowroute.url}. The keys are valid.")
    good, said = rest_test(ui, "rest_bad")

    assert not good
    assert "Check the connection's Access Key (login) and Secret Key (password)" in said
    assert WRONG not in said


def test_the_command_tests_the_saved_connection(ui: Any):
    ui.add("command_good", ui.flowroute.secret_key, with_port=False)
    ui.add("command_bad", WRONG, with_port=False)

    good = ui.cli("connections", "test", "command_good")
    bad = ui.cli("connections", "test", "command_bad", exit_code=0 if AIRFLOW_2 else 1)

    assert "Connection success!" in good
    assert "Connection failed!" in bad
    assert "Check the connection's Access Key (login) and Secret Key" in " ".join(bad.split())
    assert WRONG not in bad


def rest_test(ui: Any, conn_id: str) -> tuple[bool, str]:
    """Test a connection by its ID, as the documentation shows."""
    body = {"connection_id": conn_id, "conn_type": "flowroute"}
    answer = api(ui.address, "/api/v2/connections/test", body, ui.password)
    return answer["status"], answer["message"]
