"""Every block of every page of the documentation works."""

from __future__ import annotations

import re
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import SkipTest

import pytest
from packaging.version import Version

from .blocks import CHECKOUT, PAGES, SIMULATOR, project, read

pytest_plugins = ["pytester"]

#: For blocks that need a newer Airflow: `<!-- skip: next if(airflow < (3, 3), reason="...") -->`.
AIRFLOW = Version(version("apache-airflow")).release

PROJECTS = [page for page in PAGES if project(page)]


def name_of(page: Path) -> str:
    return str(page.relative_to(CHECKOUT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_of_a_page_works(
    page: Path, flowroute: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    document = read(page)
    document.namespace.update(
        flowroute=flowroute, monkeypatch=monkeypatch, airflow=AIRFLOW, __name__="documentation"
    )

    for example in document.examples():
        with suppress(SkipTest):  # the page states the reason
            example.evaluate()


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("python\n1 / 0", "division by zero"),
        ("console\n$ make coffee", "the Makefile has no .'coffee'."),
        ("console\nmake test", "no line begins with a prompt"),
        ("console\n$ airflow connections ad flowroute_default", "2"),
        ('console\n$ export AIRFLOW_CONN_FLOWROUTE_DEFAULT=\'{"conn_type": "flowroute"}\'', "no Access Key"),
        ("bash\npip install 'airflow-provider-flowroute[sim]'", "no such extra: {'sim'}"),
        ("bash\npython -m airflow_provider_flowroute.simulators", "there is no such module"),
        (f"bash\ncurl {SIMULATOR}/_simulator/fault", "answers 404"),
        (f"bash\ncurl {SIMULATOR}/ -d '{{'", "Expecting property name"),
        ("bash\ncurl http://127.0.0.1:9/", "the simulator's default address is"),
        ("bash\nrm -rf /", "there is no check for 'rm -rf /'"),
        ("json\n{", "Expecting property name"),
        ("toml\na =", "Invalid value"),
        ("\nwhatever", "there is no check for a block in 'no language'"),
    ],
)
def test_a_block_that_does_not_work_is_reported(
    block: str, message: str, flowroute: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    page = tmp_path / "page.md"
    page.write_text(f"A page.\n\n```{block}\n```\n")
    document = read(page)
    document.namespace.update(flowroute=flowroute, monkeypatch=monkeypatch)

    [example] = document.examples()
    with pytest.raises(Exception, match=message) as caught:
        example.evaluate()
    assert isinstance(caught.value, ZeroDivisionError) or str(caught.value).startswith("page.md, line 3: ")


@pytest.mark.airflow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", PROJECTS, ids=name_of)
def test_a_project_of_a_page_passes_in_its_own_directory_and_is_fast(
    page: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
):
    for name, code in project(page).items():
        path = pytester.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)
    monkeypatch.delenv("AIRFLOW_HOME")

    result = pytester.runpytest_subprocess("--durations=0", timeout=280)

    outcomes = result.parseoutcomes()
    assert set(outcomes) <= {"passed", "warnings"}
    assert outcomes["passed"] == sum(code.count("\ndef test_") for code in project(page).values())
    slowest = max(float(seconds) for seconds in re.findall(r"([\d.]+)s call", result.stdout.str()))
    assert slowest < 60, "a wait took the poke_interval of one minute"


def test_a_page_shows_a_project_to_copy():
    assert [name_of(page) for page in PROJECTS] == ["docs/testing.md"]
