"""Start `airflow standalone`, wait until it is healthy, and end it with all of its processes."""

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
from typing import Any
from urllib.parse import urlsplit

import click
import psutil
from airflow_env import AIRFLOW_VERSION, airflow, airflow_env, end_of

AIRFLOW_2 = AIRFLOW_VERSION.startswith("2.")
HEALTHY_WITHIN = 240
# A proxy of the developer cannot reach the loopback of this machine.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def ui_env(home: Path, port: int) -> dict[str, str]:
    """Return the environment: everything on loopback, and a new DAG file appears within seconds.

    :param home: AIRFLOW_HOME.
    :param port: port of the web interface.
    """
    address = f"http://127.0.0.1:{port}"
    env = airflow_env(home, home / "lake") | {
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
            "AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL": "5",
        }
    return env | {
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": address,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
    }


def free_port(wanted: int = 0) -> int:
    """Return a port that no process listens on.

    :param wanted: the port to take; 0 for any.
    :raises OSError: the port is in use.
    """
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", wanted))
        return int(sock.getsockname()[1])


def connection_with_port(connection: dict[str, Any]) -> dict[str, Any]:
    """Return the connection with the port in its own field.

    Without it the Test icon of Airflow 3.3's list fails: it sends port 0 where none is stored.
    """
    url = urlsplit(str(connection["host"]))
    return {**connection, "host": f"{url.scheme}://{url.hostname}", "port": url.port}


def prepare(env: dict[str, str], connection: dict[str, Any], log: Path) -> None:
    """Create the database and save the connection in it."""
    log.unlink(missing_ok=True)
    run(env, log, "db", "migrate")
    save_connection(env, connection, log)


def save_connection(env: dict[str, str], connection: dict[str, Any], log: Path) -> None:
    """Save ``flowroute_default`` in the database: the UI does not list a connection from the environment."""
    file = Path(env["AIRFLOW_HOME"]) / "connections.json"
    file.write_text(json.dumps({"flowroute_default": connection_with_port(connection)}))
    run(env, log, "connections", "import", "--overwrite", str(file))


def run(env: dict[str, str], log: Path, *command: str) -> None:
    """Run an Airflow command and append its output to the log.

    :raises ClickException: the command failed.
    """
    with log.open("ab") as out:
        done = subprocess.run(
            airflow(*command), env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False
        )
    if done.returncode:
        raise failure(f"airflow {' '.join(command)} failed", log)


@contextmanager
def standalone(env: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run Airflow in a session of its own: on SIGTERM it leaves its child processes behind."""
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
    """End every process of a session. Some create a group of their own, so it is not enough to end the group."""
    with signals_ignored():
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in in_session(leader.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            deadline = time.monotonic() + 15
            while (leader.poll() is None or in_session(leader.pid)) and time.monotonic() < deadline:
                time.sleep(0.2)


@contextmanager
def signals_ignored() -> Iterator[None]:
    """Ignore SIGINT and SIGTERM: a second Ctrl-C would leave the other processes running."""
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def in_session(session: int) -> list[int]:
    """Return the running processes of a session."""
    members = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, PermissionError, psutil.Error):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process.pid)
    return members


def api(address: str, path: str, body: dict[str, Any], password: str) -> dict[str, Any]:
    """Send a POST request to the API of Airflow 3 as the user admin, and return the answer.

    :raises HTTPError: the answer is an error.
    """
    token = _post(address + "/auth/token", {"username": "admin", "password": password})["access_token"]
    return _post(address + path, body, Authorization=f"Bearer {token}")


def _post(url: str, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json", **headers}, method="POST"
    )
    with DIRECT.open(request, timeout=30) as answer:
        return dict(json.load(answer))


def healthy(address: str) -> bool:
    """Return whether every component of Airflow reports that it is healthy."""
    path = "/health" if AIRFLOW_2 else "/api/v2/monitor/health"
    try:
        with DIRECT.open(address + path, timeout=5) as answer:
            parts = json.load(answer)
    except (OSError, ValueError):
        return False
    needed = {"metadatabase", "scheduler", "triggerer"}
    return all((parts.get(part) or {}).get("status") == "healthy" for part in needed)


def wait_until_healthy(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    """Wait until Airflow is healthy.

    :raises ClickException: the process ended, or the wait took too long.
    """
    deadline = time.monotonic() + HEALTHY_WITHIN
    while not healthy(address):
        if process.poll() is not None:
            raise failure(f"airflow standalone ended (exit code {process.returncode})", log)
        if time.monotonic() > deadline:
            raise failure(f"Airflow was not healthy within {HEALTHY_WITHIN} s", log)
        time.sleep(1)


def failure(reason: str, log: Path) -> click.ClickException:
    """Return an error with the end of Airflow's log."""
    return click.ClickException(f"{reason}. The end of {log}:\n{end_of(log)}")


def password(home: Path) -> str:
    """Return the password that `standalone` generated for the user admin."""
    if AIRFLOW_2:
        return (home / "standalone_admin_password.txt").read_text().strip()
    return str(json.loads((home / "simple_auth_manager_passwords.json.generated").read_text())["admin"])
