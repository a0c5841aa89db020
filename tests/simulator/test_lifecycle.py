"""The simulator starts, stops, keeps its state and gets out of the way."""

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
from tests.simulator.user import User, until


def test_an_export_takes_as_long_as_told() -> None:
    with FlowrouteSimulator(processing_seconds=0.3) as flowroute, User(flowroute) as user:
        begun = time.monotonic()
        export_id = user.create()
        assert user.status(export_id)["status"] == "processing"
        until(lambda: user.status(export_id)["status"] == "completed")
        assert time.monotonic() - begun >= 0.3
        assert flowroute.exports[0].reads >= 2


def test_an_endless_export_ends_when_told() -> None:
    with FlowrouteSimulator(processing_seconds=float("inf")) as flowroute, User(flowroute) as user:
        export_id = user.create()
        with pytest.raises(
            ValueError, match=f"Export {export_id} is processing: only a completed export has a file"
        ):
            flowroute.csv(export_id)
        flowroute.complete(export_id)
        assert user.status(export_id)["status"] == "completed"
        with pytest.raises(ValueError, match=f"Export {export_id} is completed already"):
            flowroute.fail(export_id)


def test_an_unknown_export_is_named_among_those_there_are(flowroute: FlowrouteSimulator) -> None:
    with pytest.raises(KeyError, match="no export '1'; it has: none"):
        flowroute.csv("1")


def test_the_connection_is_what_airflow_takes(flowroute: FlowrouteSimulator) -> None:
    assert json.loads(flowroute.connection_json) == flowroute.connection
    assert flowroute.connection == {
        "conn_type": "flowroute",
        "login": "demo-access-key",
        "password": "demo-secret-key",
        "host": flowroute.url,
    }


def test_other_keys_can_be_chosen() -> None:
    with FlowrouteSimulator(access_key="käy", secret_key="s:ecret") as flowroute, User(flowroute) as user:
        user.session.auth = ("käy".encode(), b"s:ecret")
        user.create()
        user.session.auth = ("demo-access-key", "demo-secret-key")
        assert user.session.get(user.exports_url, timeout=10).status_code == 401


def test_only_this_machine_is_answered(flowroute: FlowrouteSimulator) -> None:
    assert {urlsplit(each).hostname for each in (flowroute.url, flowroute.download_origin)} == {"127.0.0.1"}


def test_what_is_handed_out_is_a_copy(user: User) -> None:
    user.create()
    user.flowroute.exports[0].filter_parameters.clear()
    user.flowroute.requests[0].headers.clear()
    assert user.flowroute.exports[0].filter_parameters
    assert user.flowroute.requests[0].headers


def test_many_threads_can_use_it_at_once(flowroute: FlowrouteSimulator) -> None:
    def use(_: int) -> str:
        with User(flowroute) as user:
            export_id = user.create()
            assert user.get(user.link(export_id)).status_code == 200
            return export_id

    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(use, range(40)))
    assert sorted(ids) == [export.id for export in flowroute.exports]
    assert len(set(ids)) == 40


def test_files_that_are_no_longer_kept_come_out_the_same(user: User) -> None:
    first = user.create()
    before = user.get(user.link(first)).content
    for _ in range(20):
        user.status(user.create())
    assert user.get(user.link(first)).content == before


@pytest.mark.parametrize("taken", ["port", "download_port"])
def test_a_port_that_is_taken_is_named_with_what_to_do(taken: str) -> None:
    threads = threading.active_count()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(OSError, match=rf"cannot listen on 127\.0\.0\.1:{port}.*choose another {taken}"):
            FlowrouteSimulator(**{taken: port}).start()
    assert threading.active_count() == threads


def test_a_port_that_cannot_be_is_refused() -> None:
    with pytest.raises(OSError, match=r"cannot listen on 127\.0\.0\.1:99999"):
        FlowrouteSimulator(port=99999).start()


@pytest.mark.parametrize(
    "settings",
    [{"calls_per_day": -1}, {"processing_seconds": float("nan")}, {"link_seconds": float("inf")}],
)
def test_numbers_that_make_no_sense_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(
        ValueError, match=f"The simulator's {next(iter(settings))} must be a number from 0 to"
    ):
        FlowrouteSimulator(**settings)  # type: ignore[arg-type]


def test_it_has_no_address_while_it_does_not_run() -> None:
    flowroute = FlowrouteSimulator()
    with pytest.raises(RuntimeError, match="with FlowrouteSimulator"):
        _ = flowroute.url
    with flowroute:
        with pytest.raises(RuntimeError, match="runs already"):
            flowroute.start()
        assert flowroute.url
    flowroute.stop()
    with pytest.raises(RuntimeError, match="does not run"):
        _ = flowroute.download_origin


def test_it_can_be_started_again_and_ended_by_hand_while_stopped() -> None:
    flowroute = FlowrouteSimulator(processing_seconds=float("inf"))
    with flowroute, User(flowroute) as user:
        export_id = user.create()
    flowroute.complete(export_id)
    with flowroute, User(flowroute) as user:
        assert user.status(export_id)["status"] == "completed"


def test_it_stops_at_once_though_a_reply_is_still_due() -> None:
    with FlowrouteSimulator() as flowroute, User(flowroute) as user:
        flowroute.add_fault("slow_reply", seconds=60)

        def ask() -> None:
            with pytest.raises(OSError):  # noqa: PT011 - whichever way the connection breaks
                user.session.get(user.exports_url, timeout=30)

        asking = threading.Thread(target=ask)
        asking.start()
        until(lambda: flowroute.requests)
        begun = time.monotonic()
        flowroute.stop()
        asking.join()
        assert time.monotonic() - begun < 5


def test_the_same_state_file_brings_exports_and_links_back(tmp_path: Path) -> None:
    state = tmp_path / "account.json"
    with FlowrouteSimulator(state=state, calls_per_day=50) as flowroute, User(flowroute) as user:
        export_id = user.create(direction="outbound")
        link = user.link(export_id)
        content = user.get(link).content
        before = flowroute.exports
        ports = [int(each.rpartition(":")[2]) for each in (flowroute.url, flowroute.download_origin)]
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


def test_an_export_goes_on_being_processed_after_a_restart(tmp_path: Path) -> None:
    state = str(tmp_path / "account.json")
    with FlowrouteSimulator(state=state, processing_seconds=0.2) as flowroute, User(flowroute) as user:
        flowroute.add_fault("wrong_total_cost", delta="1")
        export_id = user.create()
        assert flowroute.exports[0].status == "processing"
    with FlowrouteSimulator(state=state) as flowroute, User(flowroute) as user:
        until(lambda: user.status(export_id)["status"] == "completed")
        [export] = flowroute.exports
        assert export.total_cost is not None
        assert user.status(export_id)["total_cost"] == f"{export.total_cost + 1:.6f}"


@pytest.mark.parametrize("text", ["", "[]", '{"next_id": 1, "exports": [{}]}'])
def test_a_state_file_it_cannot_read_is_named_and_left_alone(tmp_path: Path, text: str) -> None:
    state = tmp_path / "account.json"
    state.write_text(text)
    with pytest.raises(ValueError, match=r"account\.json.*Name another file, or delete this one"):
        FlowrouteSimulator(state=state)
    assert state.read_text() == text


def test_a_state_file_that_cannot_be_written_leaves_no_litter(tmp_path: Path) -> None:
    state = tmp_path / "account.json"
    flowroute = FlowrouteSimulator(state=state)
    state.mkdir()
    with pytest.raises(OSError, match=r"account\.json"):
        flowroute.reset()
    assert os.listdir(tmp_path) == ["account.json"]


PROGRAM = """
import threading, requests
from airflow_provider_flowroute.simulator import FlowrouteSimulator
for _ in range(2):
    with FlowrouteSimulator(processing_seconds=60) as flowroute:
        requests.get(flowroute.url, timeout=10).close()
    flowroute.stop()
assert threading.enumerate() == [threading.main_thread()], threading.enumerate()
assert "airflow" not in __import__("sys").modules
"""


def test_it_leaves_no_thread_socket_or_warning_behind_and_never_imports_airflow() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-W", "ignore::DeprecationWarning", "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_missing_library_is_named_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import airflow_provider_flowroute.simulator as face

    monkeypatch.setitem(sys.modules, "airflow_provider_flowroute.simulator.server", None)
    with pytest.raises(ImportError):
        _ = face.FlowrouteSimulator
    monkeypatch.delitem(sys.modules, "airflow_provider_flowroute.simulator.server")
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(
        ImportError, match=r"'aiohttp'.*pip install 'airflow-provider-flowroute\[simulator\]'"
    ):
        _ = face.FlowrouteSimulator
    with pytest.raises(AttributeError, match="no attribute 'Simulator'"):
        _ = face.Simulator
