"""The fixture as a project outside this one uses it: a directory of its own, its own pytest, its own Airflow."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

PAGE = Path(__file__).parents[2] / "docs" / "simulator.md"
#: Where the page says which file a block is.
TITLED = re.compile(r'^```python title="(.+?)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def test_a_test_gets_an_account_and_the_connection_to_it(pytester: pytest.Pytester):
    pytester.makepyfile("""
        import json, os

        import pytest

        def test_account(flowroute):
            assert json.loads(os.environ["AIRFLOW_CONN_FLOWROUTE_DEFAULT"]) == {**flowroute.connection, "extra": {}}

        def test_nothing_is_left_of_it():
            assert "AIRFLOW_CONN_FLOWROUTE_DEFAULT" not in os.environ

        @pytest.mark.flowroute(conn_id="my_flowroute", extra={"retries": 0})
        def test_another_connection(flowroute):
            from airflow_provider_flowroute.hooks.flowroute import FlowrouteHook

            hook = FlowrouteHook("my_flowroute")
            assert hook.test_connection() == (True, f"Connected to {flowroute.url}: the keys are good.")
            assert json.loads(os.environ["AIRFLOW_CONN_MY_FLOWROUTE"])["extra"] == {"retries": 0}
    """)

    pytester.runpytest_subprocess("--strict-markers").assert_outcomes(passed=3)


def test_the_nearest_marker_counts_and_a_directory_can_have_settings_of_its_own(pytester: pytest.Pytester):
    pytester.makeconftest("""
        import pytest

        @pytest.fixture
        def flowroute_options(flowroute_options):
            return {"access_key": "from-conftest", "secret_key": "from-conftest", **flowroute_options}
    """)
    pytester.makepyfile("""
        import pytest

        pytestmark = pytest.mark.flowroute(secret_key="from-module", conn_id="from_module")

        @pytest.mark.flowroute(conn_id="from_test")
        def test_it(flowroute, monkeypatch):
            import os

            assert (flowroute.access_key, flowroute.secret_key) == ("from-conftest", "from-module")
            assert [name for name in os.environ if "FROM_" in name] == ["AIRFLOW_CONN_FROM_TEST"]
    """)

    pytester.runpytest_subprocess().assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("marker", "said"),
    [
        (
            "processing=1",
            "The fixture flowroute has no setting processing. Its settings: conn_id, extra, *, processing_seconds,*",
        ),
        ("'my_flowroute'", "The marker flowroute takes settings by name only, not ('my_flowroute',)."),
    ],
)
def test_a_setting_that_is_none_is_refused_with_those_there_are(
    pytester: pytest.Pytester, marker: str, said: str
):
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.flowroute({marker})
        def test_it(flowroute):
            pass
    """)

    result = pytester.runpytest_inprocess("-p", "no:hypothesispytest")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*{said}*"])


def test_without_the_extra_only_the_test_that_asks_for_it_fails_and_says_what_to_install(
    pytester: pytest.Pytester,
):
    pytester.makeconftest("import sys; sys.modules['aiohttp'] = None")
    pytester.makepyfile("""
        def test_it(flowroute):
            pass

        def test_something_else():
            pass
    """)

    result = pytester.runpytest_subprocess()

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*Install it with: pip install 'airflow-provider-flowroute[[]simulator]'*"])


def test_a_project_that_never_asks_for_it_loads_nothing_for_it(pytester: pytest.Pytester):
    pytester.makepyfile("""
        import sys

        def test_it():
            assert not {"airflow", "aiohttp", "requests", "rich"} & sys.modules.keys()
    """)

    pytester.runpytest_subprocess().assert_outcomes(passed=1)


@pytest.mark.airflow
@pytest.mark.timeout(300)
def test_the_project_of_the_documentation_passes_and_is_quick_with_a_deferral(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
):
    blocks = TITLED.findall(PAGE.read_text())
    assert [name for name, _ in blocks] == ["dags/cdrs.py", "tests/conftest.py", "tests/test_cdrs.py"]
    for name, code in blocks:
        path = pytester.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(code)
    monkeypatch.delenv("AIRFLOW_HOME")

    result = pytester.runpytest_subprocess("--durations=0", timeout=280)

    result.assert_outcomes(passed=3)
    slowest = max(float(seconds) for seconds in re.findall(r"([\d.]+)s call", result.stdout.str()))
    assert slowest < 10, "a deferral took its ten seconds, or the poke_interval"
