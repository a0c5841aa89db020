"""The pages on the simulator and on commands list what the simulator has."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from airflow_provider_flowroute.simulator.cli import main
from airflow_provider_flowroute.simulator.faults import KINDS

DOCS = Path(__file__).parents[2] / "docs"


def lines_of(page: str) -> list[str]:
    return (DOCS / page).read_text().splitlines()


@pytest.mark.parametrize("name", KINDS)
def test_fault_is_documented_with_its_requests_and_options(name: str) -> None:
    """The table in the documentation has the default request, the other requests and the options."""
    [row] = [line for line in lines_of("simulator.md") if line.startswith(f"| `{name}` |")]
    default_on, other_on, options = (cell.strip() for cell in row.split("|")[2:5])
    kind = KINDS[name]
    documented = [
        ("create, status, list" if on == "any API request" else on) for on in (default_on, other_on)
    ]
    assert set(", ".join(documented).split(", ")) - {"none"} == set(kind.can_be_on)
    assert set(documented[0].split(", ")) == set(kind.default_on)
    assert set(re.findall("`([a-z_]+)`", options)) == set(kind.options)


def test_every_option_of_the_command_is_documented_with_its_default() -> None:
    rows = {line for line in lines_of("cli.md") if line.startswith("| `--")}
    for option in main.params:
        assert isinstance(option, click.Option)
        [row] = [row for row in rows if re.search(rf"`{option.opts[0]}\b[^`]*`", row)]
        default = row.split("|")[2].strip().strip("`")
        expected = {"state": "none", "quiet": "off", "access_key": "demo-…", "secret_key": "demo-…"}
        assert default == expected.get(option.name or "", str(option.default)), row
