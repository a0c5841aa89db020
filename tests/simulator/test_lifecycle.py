"""The simulator starts, stops, keeps its state and leaves nothing behind."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from airflow_provider_flowroute.simulator import FlowrouteSimulator
from tests.simulator.user import User
from tests.support import wait_until


@pytest.mark.flowroute(processing_seconds=0.3)
def test_export_is_processing_for_the_set_time(flowroute: FlowrouteSimulator, user: User) -> None:
    start = time.monotonic()
    export_id = user.create()
    assert user.status(export_id)["status"] == "processing"
    wait_until(lambda: user.status(export_id)["status"] == "completed")
    assert time.monotonic() - start >= 0.3
    assert flowroute.exports[0].reads >= 2


@pytest.mark.flowroute(processing_seconds=float("inf"))
def test_endless_export_ends_on_request(flowroute: FlowrouteSimulator, user: User) -> None:
    export_id = user.create()
    with pytest.raises(
        ValueError, match=f"Export {export_id} is processing: only a completed export has a file"
    ):
        flowroute.csv(export_id)
    flowroute.complete(export_id)
    assert user.status(export_id)["status"] == "completed"
    with pytest.raises(
        ValueError, match=f"Export {export_id} is completed: only a processing export can be ended"
    ):
        flowroute.fail(export_id)


def test_unknown_export_error_lists_the_exports(flowroute: FlowrouteSimulator) -> None:
    with pytest.raises(KeyError, match=r"no export '1'.*Its exports: none"):
        flowroute.csv("1")


def test_connection_is_a_valid_airflow_connection(flowroute: FlowrouteSimulator) -> None:
    assert json.loads(flowroute.connection_json) == flowroute.connection
    assert flowroute.connection == {
        "conn_type": "flowroute",
        "login": "demo-access-key",
        "password": "demo-secret-key",
        "host": flowroute.url,
    }


@pytest.mark.flowroute(access_key="käy", secret_key="s:ecret")
def test_keys_can_be_set(user: User) -> None:
    user.session.auth = ("käy".encode(), b"s:ecret")  # type: ignore[assignment]
    user.create()
    user.session.auth = ("demo-access-key", "demo-secret-key")
    assert user.session.get(user.exports_url, timeout=10).status_code == 401


def test_simulator_listens_on_loopback_only(flowroute: FlowrouteSimulator) -> None:
    assert {urlsplit(url).hostname for url in (flowroute.url, flowroute.download_origin)} == {"127.0.0.1"}


def test_exports_and_requests_are_copies(user: User) -> None:
    user.create()
    user.flowroute.exports[0].filter_parameters.clear()
    user.flowroute.requests[0].headers.clear()
    assert user.flowroute.exports[0].filter_parameters
    assert user.flowroute.requests[0].headers


def test_many_threads_can_use_it_concurrently(flowroute: FlowrouteSimulator) -> None:
    def use(_: int) -> str:
        with User(flowroute) as user:
            export_id = user.create()
            assert user.get(user.link(export_id)).status_code == 200
            return export_id

    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(use, range(40)))
    assert sorted(ids) == [export.id for export in flowroute.exports]
    assert len(set(ids)) == 40


def test_files_no_longer_cached_are_identical(user: User) -> None:
    first = user.create()
    before = user.get(user.link(first)).content
    for _ in range(20):
        user.status(user.create())
    assert user.get(user.link(first)).content == before


@pytest.mark.parametrize("parameter", ["port", "download_port"])
def test_port_in_use_error_names_the_port_and_the_fix(parameter: str) -> None:
    threads = threading.active_count()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(
            OSError, match=rf"(?s)cannot listen on 127\.0\.0\.1:{port}.*choose another {parameter}"
        ):
            FlowrouteSimulator(**{parameter: port}).start()
    assert threading.active_count() == threads


def test_port_out_of_range_is_refused() -> None:
    with pytest.raises(OSError, match=r"cannot listen on 127\.0\.0\.1:99999"):
        FlowrouteSimulator(port=99999).start()


@pytest.mark.parametrize(
    "settings",
    [{"calls_per_day": -1}, {"processing_seconds": float("nan")}, {"link_seconds": float("inf")}],
)
def test_numbers_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(
        ValueError, match=f"The simulator's {next(iter(settings))} must be a number from 0 to"
    ):
        FlowrouteSimulator(**settings)  # type: ignore[arg-type]


def test_stopped_simulator_has_no_address() -> None:
    flowroute = FlowrouteSimulator()
    with pytest.raises(RuntimeError, match=r"(?s)is not running.*with FlowrouteSimulator"):
        _ = flowroute.url
    with flowroute:
        with pytest.raises(RuntimeError, match="already running"):
            flowroute.start()
        assert flowroute.url
    flowroute.stop()
    with pytest.raises(RuntimeError, match="is not running"):
        _ = flowroute.download_origin


def test_simulator_can_be_restarted() -> None:
    """An export can be completed while the simulator is stopped."""

    flowroute = FlowrouteSimulator(processing_seconds=float("inf"))
    with flowroute, User(flowroute) as user:
        export_id = user.create()
    flowroute.complete(export_id)
    with flowroute, User(flowroute) as user:
        assert user.status(export_id)["status"] == "completed"


def test_stop_does_not_wait_for_a_slow_reply(flowroute: FlowrouteSimulator, user: User) -> None:
    flowroute.add_fault("slow_reply", seconds=60)

    def request_slowly() -> None:
        with pytest.raises(OSError):  # noqa: PT011 - the kind of connection error varies
            user.session.get(user.exports_url, timeout=30)

    client = threading.Thread(target=request_slowly)
    client.start()
    wait_until(lambda: flowroute.requests)
    start = time.monotonic()
    flowroute.stop()
    client.join()
    assert time.monotonic() - start < 5


def test_state_file_restores_exports_and_links(tmp_path: Path) -> None:
    state = tmp_path / "account.json"
    with FlowrouteSimulator(state=state, calls_per_day=50) as flowroute, User(flowroute) as user:
        export_id = user.create(direction="outbound")
        link = user.link(export_id)
        content = user.get(link).content
        before = flowroute.exports
        ports = [int(url.rpartition(":")[2]) for url in (flowroute.url, flowroute.download_origin)]
    with (
        FlowrouteSimulator(
            state=state, port=ports[0], download_port=ports[1], calls_per_day=999
        ) as flowroute,
        User(flowroute) as user,
    ):
        assert flowroute.exports == before
        assert user.get(link).content == content
        assert int(user.create()) == int(export_id) + 1
    assert os.listdir(tmp_path) == ["account.json"]


def test_processing_continues_after_a_restart(tmp_path: Path) -> None:
    state = str(tmp_path / "account.json")
    with FlowrouteSimulator(state=state, processing_seconds=0.2) as flowroute, User(flowroute) as user:
        flowroute.add_fault("wrong_total_cost", delta="1")
        export_id = user.create()
        assert flowroute.exports[0].status == "processing"
    with FlowrouteSimulator(state=state) as flowroute, User(flowroute) as user:
        wait_until(lambda: user.status(export_id)["status"] == "completed")
        [export] = flowroute.exports
        assert export.total_cost is not None
        assert user.status(export_id)["total_cost"] == f"{export.total_cost + 1:.6f}"


@pytest.mark.parametrize("text", ["", "[]", '{"next_id": 1, "exports": [{}]}'])
def test_damaged_state_file_is_named_and_unchanged(tmp_path: Path, text: str) -> None:
    state = tmp_path / "account.json"
    state.write_text(text)
    with pytest.raises(ValueError, match=r"(?s)account\.json.*Choose another file, or delete this file"):
        FlowrouteSimulator(state=state)
    assert state.read_text() == text


def test_failed_write_of_the_state_file_leaves_no_files(tmp_path: Path) -> None:
    state = tmp_path / "account.json"
    flowroute = FlowrouteSimulator(state=state)
    state.mkdir()
    with pytest.raises(OSError, match=r"account\.json"):
        flowroute.reset()
    assert os.listdir(tmp_path) == ["account.json"]


PROGRAM = """
import sys, threading, requests
from airflow_provider_flowroute.simulator import FlowrouteSimulator
for _ in range(2):
    with FlowrouteSimulator(processing_seconds=60) as flowroute:
        requests.get(flowroute.url, timeout=10).close()
    flowroute.stop()
assert threading.enumerate() == [threading.main_thread()], threading.enumerate()
assert "airflow" not in sys.modules
others = [name for name in sys.modules if name.startswith("airflow_provider_flowroute.")]
assert all(name.startswith("airflow_provider_flowroute.simulator") for name in others), others
"""


def test_simulator_leaves_no_thread_socket_or_warning() -> None:
    """It imports neither Airflow nor another part of the provider."""

    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-W", "ignore::DeprecationWarning", "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_missing_library_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import airflow_provider_flowroute.simulator as package

    monkeypatch.setitem(sys.modules, "airflow_provider_flowroute.simulator.server", None)
    with pytest.raises(ImportError):
        _ = package.FlowrouteSimulator
    monkeypatch.delitem(sys.modules, "airflow_provider_flowroute.simulator.server")
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(
        ImportError, match=r"(?s)'aiohttp'.*pip install 'airflow-provider-flowroute\[simulator\]'"
    ):
        _ = package.FlowrouteSimulator
    with pytest.raises(AttributeError, match="no attribute 'Simulator'"):
        _ = package.Simulator
