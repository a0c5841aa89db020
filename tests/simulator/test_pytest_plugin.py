"""The fixture as a project outside this one uses it: a directory of its own, its own pytest, its own Airflow."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]


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
