"""The connection form. Airflow reads it from the hook before 3.2 and from the provider info later."""

from __future__ import annotations

import importlib.util

import pytest
from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_flowroute import CONNECTION_FORM, get_provider_info
from airflow_provider_flowroute.hooks.flowroute import FlowrouteHook


def test_hook_attributes_match_the_provider_info():
    (connection_type,) = get_provider_info()["connection-types"]

    assert issubclass(FlowrouteHook, BaseHook)
    assert FlowrouteHook.conn_type == connection_type["connection-type"] == "flowroute"
    assert FlowrouteHook.hook_name == connection_type["hook-name"]
    assert FlowrouteHook.conn_name_attr == "flowroute_conn_id"
    assert FlowrouteHook.default_conn_name == "flowroute_default"
    assert f"{FlowrouteHook.__module__}.{FlowrouteHook.__qualname__}" == connection_type["hook-class-name"]


def test_form_behaviour_is_the_same_in_hook_and_provider_info():
    assert FlowrouteHook.get_ui_field_behaviour() == {
        "hidden_fields": CONNECTION_FORM["hidden-fields"],
        "relabeling": {"login": "Access Key", "password": "Secret Key", "host": "API URL"},
        "placeholders": CONNECTION_FORM["placeholders"],
    }
    # Airflow 2.11 reads both from the class itself.
    assert {"get_ui_field_behaviour", "get_connection_form_widgets"} <= vars(FlowrouteHook).keys()


@pytest.mark.skipif(
    not importlib.util.find_spec("flask_appbuilder"), reason="only Airflow 2 builds its form from widgets"
)
def test_form_fields_are_the_same_in_hook_and_provider_info():
    widgets = FlowrouteHook.get_connection_form_widgets()

    (connection_type,) = get_provider_info()["connection-types"]
    assert list(widgets) == list(connection_type["conn-fields"])
    for name, field in connection_type["conn-fields"].items():
        kind = "IntegerField" if field["schema"]["type"][0] == "integer" else "StringField"
        if field["schema"].get("format") == "password":
            kind = "PasswordField"
        assert widgets[name].field_class.__name__ == kind
        assert widgets[name].args == (field["label"],)
        assert widgets[name].kwargs["description"] == field["description"]
