"""The parameter tables of docs/operators.md match the signatures."""

from __future__ import annotations

import inspect
import re

import pytest
from airflow.providers.common.compat.sdk import BaseSensorOperator

from airflow_provider_flowroute.operators.cdr_completeness import CdrCompletenessCheckOperator
from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator
from airflow_provider_flowroute.sensors.cdr_export import CdrExportSensor
from airflow_provider_flowroute.transfers.cdr_export_to_iceberg import CdrExportToIcebergOperator
from airflow_provider_flowroute.transfers.cdr_export_to_object_storage import CdrExportToObjectStorageOperator
from airflow_provider_flowroute.triggers.cdr_export import CdrExportTrigger

from .blocks import CHECKOUT

PAGE = (CHECKOUT / "docs" / "operators.md").read_text()
CLASSES = (
    CreateCdrExportOperator,
    CdrCompletenessCheckOperator,
    CdrExportSensor,
    CdrExportTrigger,
    CdrExportToObjectStorageOperator,
    CdrExportToIcebergOperator,
)


def table(section: str, first_column: str) -> dict[str, list[str]]:
    """Return the rows of a section's table by the names in their first column."""
    text = re.search(rf"^## {section}$(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    rows = text and re.search(rf"^\| {first_column} \|.*\n\|[-|]+\n((?:\|.*\n)+)", text[1], re.MULTILINE)
    assert rows, f"no table of {first_column}s below {section}"
    cells = [[cell.strip() for cell in row.split(" | ")] for row in rows[1].splitlines()]
    return {name: row for row in cells for name in re.findall(r"`(\w+)`", row[0])}


def parameters(of: type) -> dict[str, inspect.Parameter]:
    signature = inspect.signature(of.__init__)  # type: ignore[misc]
    return {
        name: parameter
        for name, parameter in signature.parameters.items()
        if name != "self" and parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }


@pytest.mark.parametrize("documented", CLASSES, ids=lambda documented: documented.__name__)
def test_parameter_tables_match_the_signatures(documented: type):
    rows = table(documented.__name__, "parameter")
    expected = parameters(documented)

    assert set(rows) == set(expected)
    for name, (_, _, default, _) in rows.items():
        actual = expected[name].default
        assert (default == "required") == (actual is inspect.Parameter.empty), name
        if re.fullmatch(r"`\w+`", default):
            assert default == f"`{actual}`", name


@pytest.mark.parametrize("documented", CLASSES, ids=lambda documented: documented.__name__)
def test_templated_notes_match_template_fields(documented: type):
    rows = table(documented.__name__, "parameter")

    noted = {name for name, row in rows.items() if "templated" in row[-1]}
    assert noted == set(getattr(documented, "template_fields", ()))


def test_inherited_parameters_exist_in_the_base_sensor():
    rows = table("CdrExportSensor", "inherited")

    assert len(rows) == 8
    assert set(rows) <= set(parameters(BaseSensorOperator))
