"""The provider info: valid, true, and cheap to import."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from importlib.metadata import distribution, entry_points, version
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Asset
from airflow.providers_manager import ProvidersManager
from jsonschema import Draft7Validator

import airflow_provider_flowroute
from airflow_provider_flowroute import CONNECTION_FIELDS, get_provider_info

INFO = get_provider_info()
AIRFLOW_2 = version("apache-airflow").startswith("2.")
CHECKOUT = Path(__file__).parents[1]


def modules_of(info: dict[str, Any]) -> list[str]:
    listed = [entry for kind in ("hooks", "operators", "sensors", "triggers") for entry in info[kind]]
    return [module for entry in listed for module in entry["python-modules"]] + [
        entry["python-module"] for entry in info["transfers"]
    ]


def test_provider_info_matches_airflows_schema():
    import airflow

    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())

    assert [error.message for error in Draft7Validator(schema).iter_errors(INFO)] == []


def test_provider_info_names_the_distribution_and_version():
    assert INFO["package-name"] == distribution("airflow-provider-flowroute").metadata["Name"]
    assert INFO["versions"] == [airflow_provider_flowroute.__version__]
    assert version("airflow-provider-flowroute") == airflow_provider_flowroute.__version__


def test_airflow_finds_the_entry_point():
    (found,) = (
        entry_point
        for entry_point in entry_points(group="apache_airflow_provider")
        if entry_point.value.startswith("airflow_provider_flowroute")
    )

    assert found.load()() == INFO


@pytest.mark.parametrize("module", modules_of(INFO))
def test_listed_modules_are_importable(module: str):
    importlib.import_module(module)


def test_all_dag_facing_modules_are_listed():
    package = Path(airflow_provider_flowroute.__file__).parent
    there = {
        f"airflow_provider_flowroute.{folder}.{file.stem}"
        for folder in ("hooks", "operators", "sensors", "triggers", "transfers")
        for file in (package / folder).glob("*.py")
        if file.stem
        not in (
            "__init__",
            "base",
            "poller",
            "poller_registry",
            "waits",
            "daemon_thread",
        )  # these define none
    }

    assert set(modules_of(INFO)) == there


def test_listed_hook_exists():
    (connection_type,) = INFO["connection-types"]
    module, _, name = connection_type["hook-class-name"].rpartition(".")

    assert getattr(importlib.import_module(module), name).conn_type == "flowroute"


def test_how_to_guides_and_logo_exist():
    [integration] = INFO["integrations"]
    paths = [
        *integration["how-to-guide"],
        integration["logo"],
        *(item["how-to-guide"] for item in INFO["transfers"]),
    ]

    assert all(path.startswith("/docs/") for path in paths)
    assert all((CHECKOUT / path.removeprefix("/")).is_file() for path in paths)


def test_airflow_accepts_the_provider_info():
    """ProvidersManager drops a provider, or a part of it, that it does not accept."""
    providers = ProvidersManager()

    assert INFO.items() <= providers.providers["airflow-provider-flowroute"].data.items()
    assert "flowroute" in providers.hooks
    assert set(INFO["extra-links"]) <= set(providers.extra_links_class_names)


def test_flowroute_asset_uris_are_normalized():
    asset = Asset("flowroute://API.flowroute.com/cdrs/exports/")

    assert asset.uri == "flowroute://api.flowroute.com/cdrs/exports"


@pytest.mark.parametrize(
    "uri", ["flowroute:///cdrs", "flowroute://api.flowroute.com", "flowroute://api.flowroute.com/"]
)
def test_incomplete_flowroute_asset_uri_is_refused(uri: str):
    message = "flowroute URI has a host and a path"
    # Airflow 2 only warns.
    with pytest.warns(UserWarning, match=message) if AIRFLOW_2 else pytest.raises(ValueError, match=message):
        Asset(uri)


def test_openlineage_dataset_of_an_asset_has_the_landings_namespace():
    """It is the namespace of the input that a landing reports (see tests/airflow/test_openlineage.py)."""
    providers = ProvidersManager()
    try:
        converters = providers.asset_to_openlineage_converters
    except AttributeError:  # Airflow 2
        converters = providers.dataset_to_openlineage_converters

    dataset = converters["flowroute"](Asset("flowroute://api.flowroute.com/cdrs/exports"), None)

    assert (dataset.namespace, dataset.name) == ("flowroute://api.flowroute.com", "cdrs/exports")


def test_listed_link_belongs_to_the_transfer_operator():
    from airflow_provider_flowroute.transfers.cdr_export_to_object_storage import (
        CdrExportToObjectStorageOperator,
    )

    links = CdrExportToObjectStorageOperator.operator_extra_links
    assert INFO["extra-links"] == [f"{type(link).__module__}.{type(link).__name__}" for link in links]


@pytest.mark.parametrize("name", CONNECTION_FIELDS)
def test_form_fields_are_optional_without_a_default(name: str):
    field = CONNECTION_FIELDS[name]

    assert "null" in field["schema"]["type"]
    assert "default" not in field["schema"]
    assert field["label"]
    assert "Default" in field["description"]


def test_provider_info_imports_neither_airflow_nor_requests():
    code = (
        "import sys; from airflow_provider_flowroute import get_provider_info; get_provider_info(); "
        "print([name for name in sys.modules if name.split('.')[0] in ('airflow', 'requests', 'urllib3', 'pendulum')])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_provider_info_returns_a_new_copy():
    get_provider_info()["versions"].append("changed")

    assert get_provider_info() == INFO


def test_package_ships_its_types():
    assert (Path(airflow_provider_flowroute.__file__).parent / "py.typed").exists()
