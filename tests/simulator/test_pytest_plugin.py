"""The plugin as another project uses it: its own directory, its own pytest, its own Airflow."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

LOAD_PLUGIN = 'pytest_plugins = ["airflow_provider_flowroute.simulator.pytest_plugin"]\n'


@pytest.fixture(autouse=True)
def load_plugin(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(LOAD_PLUGIN)


def test_fixture_gives_an_account_and_its_connection(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import json, os

        import pytest

        def test_account(flowroute):
            assert json.loads(os.environ["AIRFLOW_CONN_FLOWROUTE_DEFAULT"]) == {**flowroute.connection, "extra": {}}

        def test_connection_is_removed():
            assert "AIRFLOW_CONN_FLOWROUTE_DEFAULT" not in os.environ

        @pytest.mark.flowroute(conn_id="my_flowroute", extra={"retries": 0})
        def test_another_connection(flowroute):
            from airflow_provider_flowroute.hooks.flowroute import FlowrouteHook

            hook = FlowrouteHook("my_flowroute")
            assert hook.test_connection()[0] is True
            assert hook.get_conn().base_url == flowroute.url
            assert json.loads(os.environ["AIRFLOW_CONN_MY_FLOWROUTE"])["extra"] == {"retries": 0}
    """)

    pytester.runpytest_subprocess("--strict-markers").assert_outcomes(passed=3)


def test_nearest_marker_takes_precedence(pytester: pytest.Pytester) -> None:
    """A directory can override the options."""
    pytester.makeconftest(f"""
        import pytest

        {LOAD_PLUGIN}
        @pytest.fixture
        def flowroute_options(flowroute_options):
            return {{"access_key": "from-conftest", "secret_key": "from-conftest", **flowroute_options}}
    """)
    pytester.makepyfile("""
        import pytest

        pytestmark = pytest.mark.flowroute(secret_key="from-module", conn_id="from_module")

        @pytest.mark.flowroute(conn_id="from_test")
        def test_options(flowroute, monkeypatch):
            import os

            assert (flowroute.access_key, flowroute.secret_key) == ("from-conftest", "from-module")
            assert [name for name in os.environ if "FROM_" in name] == ["AIRFLOW_CONN_FROM_TEST"]
    """)

    pytester.runpytest_subprocess().assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("marker", "lines"),
    [
        (
            "processing=1",
            [
                "*The fixture flowroute has no option processing.",
                "*Its options: conn_id, extra, *, processing_seconds,*",
            ],
        ),
        (
            "'my_flowroute'",
            [
                "*The marker flowroute has positional arguments: ('my_flowroute',).",
                "*Pass options by name only.",
            ],
        ),
    ],
)
def test_unknown_option_is_refused_with_the_known_options(
    pytester: pytest.Pytester, marker: str, lines: list[str]
) -> None:
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.flowroute({marker})
        def test_options(flowroute):
            pass
    """)

    result = pytester.runpytest_inprocess("-p", "no:hypothesispytest")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(lines)


def test_without_the_extra_only_tests_that_use_it_fail(pytester: pytest.Pytester) -> None:
    """The error has the install command."""
    pytester.makeconftest("import sys; sys.modules['aiohttp'] = None\n" + LOAD_PLUGIN)
    pytester.makepyfile("""
        def test_account(flowroute):
            pass

        def test_something_else():
            pass
    """)

    result = pytester.runpytest_subprocess()

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*Install it with: pip install 'airflow-provider-flowroute[[]simulator]'*"])


def test_plugin_imports_nothing_until_a_fixture_is_used(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import sys

        def test_modules():
            assert not {"airflow", "aiohttp", "requests", "rich"} & sys.modules.keys()
    """)

    pytester.runpytest_subprocess().assert_outcomes(passed=1)


def test_plugin_is_not_loaded_unless_a_project_asks_for_it(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("")
    pytester.makepyfile("""
        import sys

        def test_modules():
            assert "airflow_provider_flowroute" not in sys.modules
    """)

    pytester.runpytest_subprocess().assert_outcomes(passed=1)
