"""`airflow standalone` as a process of its own: started, healthy, and ended with all that it started."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click
import psutil
from airflow_env import AIRFLOW_VERSION, airflow, airflow_env, end_of

AIRFLOW_2 = AIRFLOW_VERSION.startswith("2.")
HEALTHY_WITHIN = 240


def ui_env(home: Path, port: int, connection: str) -> dict[str, str]:
    """The environment: all on loopback, DAGs found and shown quickly.

    :param home: its AIRFLOW_HOME.
    :param port: of the web interface.
    :param connection: ``flowroute_default``, as JSON.
    """
    address = f"http://127.0.0.1:{port}"
    env = airflow_env(home, connection, home / "lake") | {
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
    }
    if AIRFLOW_2:
        return env | {
            "AIRFLOW__WEBSERVER__WEB_SERVER_HOST": "127.0.0.1",
            "AIRFLOW__WEBSERVER__WEB_SERVER_PORT": str(port),
            "AIRFLOW__WEBSERVER__BASE_URL": address,
            "AIRFLOW__WEBSERVER__WORKERS": "1",
        }
    return env | {
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": address,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
    }


def free_port(wanted: int = 0) -> int:
    """A port nobody listens on."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", wanted))
        return int(sock.getsockname()[1])


def prepare(env: dict[str, str], connection: dict[str, str], log: Path) -> None:
    """Make the database, with the connection in it: one from the environment is in no list of the UI."""
    file = Path(env["AIRFLOW_HOME"]) / "connections.json"
    file.write_text(json.dumps({"flowroute_default": connection}))
    with log.open("wb") as out:
        for command in (["db", "migrate"], ["connections", "import", "--overwrite", str(file)]):
            done = subprocess.run(
                airflow(*command), env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False
            )
            if done.returncode:
                raise gave_up(f"airflow {' '.join(command)} failed", log)


@contextmanager
def standalone(env: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Airflow, in a session of its own: it leaves its parts behind when it is told to end."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            airflow("standalone"),
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        end_session(process)


def end_session(leader: subprocess.Popen[bytes]) -> None:
    """End every process of a session. Some make a group of their own, so ending the group is not enough."""
    with deaf():
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in in_session(leader.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            deadline = time.monotonic() + 15
            while (leader.poll() is None or in_session(leader.pid)) and time.monotonic() < deadline:
                time.sleep(0.2)


@contextmanager
def deaf() -> Iterator[None]:
    """Hear no request to end: an impatient second one would leave the rest running."""
    heard = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in heard.items():
            signal.signal(number, handler)


def in_session(session: int) -> list[int]:
    """The processes of a session that still run."""
    members = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, PermissionError, psutil.Error):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process.pid)
    return members


def healthy(address: str) -> bool:
    """Whether every part of Airflow says that it is well."""
    path = "/health" if AIRFLOW_2 else "/api/v2/monitor/health"
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(address + path, timeout=5) as answer:
            parts = json.load(answer)
    except (OSError, ValueError):
        return False
    needed = {"metadatabase", "scheduler", "triggerer"}
    return all((parts.get(part) or {}).get("status") == "healthy" for part in needed)


def wait_until_healthy(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    """Wait for the first good answer.

    :raises ClickException: it ended, or took too long.
    """
    deadline = time.monotonic() + HEALTHY_WITHIN
    while not healthy(address):
        if process.poll() is not None:
            raise gave_up(f"airflow standalone ended by itself ({process.returncode})", log)
        if time.monotonic() > deadline:
            raise gave_up(f"Airflow was not healthy within {HEALTHY_WITHIN} s", log)
        time.sleep(1)


def gave_up(reason: str, log: Path) -> click.ClickException:
    """The error for what only Airflow's log can explain."""
    return click.ClickException(f"{reason}. The end of {log}:\n{end_of(log)}")


def password(home: Path) -> str:
    """What `standalone` made up for the user admin, the first time."""
    if AIRFLOW_2:
        return (home / "standalone_admin_password.txt").read_text().strip()
    return str(json.loads((home / "simple_auth_manager_passwords.json.generated").read_text())["admin"])
