"""What the documentation shows works: each block of each page, those of pages yet to be written included."""

from __future__ import annotations

import re
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import SkipTest

import pytest
from packaging.version import Version

from .blocks import CHECKOUT, PAGES, project, read

pytest_plugins = ["pytester"]

#: For blocks that need a newer one: `<!-- skip: next if(airflow < (3, 3), reason="...") -->`.
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
        with suppress(SkipTest):  # the page says why it is left out here
            example.evaluate()


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("python\n1 / 0", "division by zero"),
        ("console\n$ make coffee", "the Makefile has no .'coffee'."),
        ("console\nmake test", "no line begins with a prompt"),
        ("console\n$ airflow connections ad flowroute_default", "2"),
        ('console\n$ export AIRFLOW_CONN_FLOWROUTE_DEFAULT=\'{"conn_type": "flowroute"}\'', "no Access Key"),
        ("bash\npip install 'airflow-provider-flowroute[sim]'", "no such extra: {'sim'}"),
        ("bash\npython -m airflow_provider_flowroute.simulators", "there is no such module"),
        ("bash\ncurl http://127.0.0.1:8080/_simulator/fault", "answers 404"),
        ("bash\ncurl http://127.0.0.1:8080/ -d '{'", "Expecting property name"),
        ("bash\nrm -rf /", "no way to check 'rm -rf /' is known"),
        ("json\n{", "Expecting property name"),
        ("toml\na =", "Invalid value"),
        ("\nwhatever", "no way to check a block in 'no language' is known"),
    ],
)
def test_a_block_that_does_not_work_is_found(
    block: str, said: str, flowroute: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    page = tmp_path / "page.md"
    page.write_text(f"Some words.\n\n```{block}\n```\n")
    document = read(page)
    document.namespace.update(flowroute=flowroute, monkeypatch=monkeypatch)

    [example] = document.examples()
    with pytest.raises(Exception, match=said) as caught:
        example.evaluate()
    assert isinstance(caught.value, ZeroDivisionError) or str(caught.value).startswith("page.md, line 3: ")


@pytest.mark.airflow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", PROJECTS, ids=name_of)
def test_the_project_that_a_page_shows_passes_in_a_directory_of_its_own_and_is_quick(
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
    assert slowest < 30, "a wait took the poke_interval of a minute"


def test_there_is_a_project_to_copy():
    assert [name_of(page) for page in PROJECTS] == ["docs/simulator.md"]
