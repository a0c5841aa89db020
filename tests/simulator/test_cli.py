"""The command line: its output can be copied, and it stops on a signal."""

from __future__ import annotations

import json
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner

from airflow_provider_flowroute.simulator.cli import main

COMMAND = [sys.executable, "-u", "-m", "airflow_provider_flowroute.simulator"]


#: Sends a SIGTERM while cli.py waits for an event and holds the event's lock, if it waits for an event at all.
#: A signal handler that sets this event would wait for the lock forever.
SIGNAL_DURING_WAIT = """
import os, runpy, signal, sys, threading

def trace(frame, event, _):
    if event == "call" and frame.f_code is threading.Event.wait.__code__:
        return send_signal if frame.f_back.f_code.co_filename.endswith("cli.py") else None

def send_signal(frame, event, _):
    if frame.f_locals["self"]._cond._lock.locked():
        sys.settrace(None)
        os.kill(os.getpid(), signal.SIGTERM)
    return send_signal

sys.settrace(trace)
runpy.run_module("airflow_provider_flowroute.simulator", run_name="__main__", alter_sys=True)
"""


@contextmanager
def running(
    *options: str, command: Sequence[str] = COMMAND
) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """Run the command until it has printed the connection, and yield both."""
    with subprocess.Popen(
        [*command, "--port", "0", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        try:
            lines = [process.stdout.readline() for _ in range(3)]
            setting = shlex.split(lines[2])[1]
            connection = json.loads(setting.removeprefix("AIRFLOW_CONN_FLOWROUTE_DEFAULT="))
            assert lines[0] == f"Flowroute simulator: {connection['host']}\n"
            yield process, connection
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_command_prints_requests_and_stops_on_a_signal(number: signal.Signals) -> None:
    """It also prints the connection."""

    with running("--access-key", "mine", "--secret-key", "it's") as (process, connection):
        assert (connection["login"], connection["password"]) == ("mine", "it's")
        reply = requests.get(connection["host"] + "/v2/cdrs/exports", auth=("mine", "it's"), timeout=60)
        assert reply.status_code == 200
        # Read it before the signal: the line is printed after the reply.
        assert process.stdout is not None
        assert process.stdout.readline() == "    200 list     GET /v2/cdrs/exports\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert out == "Stopped.\n"
    assert (process.returncode, err) == (0, "")


def test_signal_at_any_moment_stops_the_command() -> None:
    """A signal must not cause a deadlock while the command starts to wait."""
    command = [sys.executable, "-u", "-c", SIGNAL_DURING_WAIT]
    with running(command=command) as (process, _):
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=60) == ("Stopped.\n", "")
    assert process.returncode == 0


def test_state_file_survives_kill_and_quiet_prints_no_requests(tmp_path: Path) -> None:
    state = str(tmp_path / "state.json")
    window = {"start_call_start_time": "2026-03-02 00:00:00", "start_call_end_time": "2026-03-03 00:00:00"}
    body = {"data": {"type": "cdrexport", "attributes": {"filter_parameters": window}}}
    with running("--quiet", "--state", state) as (process, connection):
        auth = (connection["login"], connection["password"])
        url = connection["host"] + "/v2/cdrs/exports"
        headers = {"Content-Type": "application/vnd.api+json"}
        created = requests.post(url, data=json.dumps(body), headers=headers, auth=auth, timeout=60)
        assert created.status_code == 201
        process.kill()
        assert process.communicate(timeout=60) == ("", "")
    with running("--quiet", "--state", state) as (process, connection):
        listed = requests.get(connection["host"] + "/v2/cdrs/exports", auth=auth, timeout=60).json()
        assert [str(item["data"]["id"]) for item in listed["data"]] == [created.json()["data"]["id"]]


def test_port_in_use_gives_an_error_without_a_traceback() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        done = CliRunner().invoke(main, ["--port", str(port)])
    assert done.exit_code == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.output
    assert "Traceback" not in done.output


def test_help_lists_every_option_with_its_default() -> None:
    text = CliRunner().invoke(main, ["--help"]).output
    names = ["port", "download-port", "seed", "calls-per-day", "processing-seconds", "link-seconds", "state"]
    names += ["callback-retries", "callback-retry-seconds", "callback-url-echo"]
    for name in [*names, "access-key", "secret-key", "quiet"]:
        assert f"--{name}" in text
    assert re.search(r"default:\s+8099", text)


def test_missing_library_gives_the_install_command() -> None:
    program = (
        "import runpy, sys; sys.modules['rich'] = None; sys.modules['rich.console'] = None; "
        "runpy.run_module('airflow_provider_flowroute.simulator', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "pip install 'airflow-provider-flowroute[simulator]'" in done.stderr
    assert "Traceback" not in done.stderr
