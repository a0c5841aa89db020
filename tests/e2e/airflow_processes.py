"""A real Airflow: each component is a process of its own, on loopback, in a temporary home."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import psutil
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from tests.support import a_closed_port, wait_until

T = TypeVar("T")

VERSION = version("apache-airflow")
AIRFLOW_2 = VERSION.startswith("2.")
KEEPS_STATE = AIRFLOW_V_3_3_PLUS
#: Set when the tests end: the threads of the cases stop waiting.
OVER = threading.Event()
DAGS = Path(__file__).parent / "dags"


def wait_for(condition: Callable[[], T], what: str, seconds: float = 240) -> T:
    """Wait until a condition holds or the tests end, and return its value.

    :param condition: polled until its value is true.
    :param what: describes the condition in the failure.
    """

    def holds() -> T:
        assert not OVER.is_set(), f"The tests ended before {what}"
        return condition()

    return wait_until(holds, seconds, what, interval=0.1)


@dataclass
class Airflow:
    """An Airflow with LocalExecutor and SQLite that runs the DAGs of ``dags/``.

    :param home: its AIRFLOW_HOME.
    :param env: further environment variables: the connections and the path of the cases.
    """

    home: Path
    env: dict[str, str]
    parts: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        self.env = {**inherited, **self._settings(), **self.env}

    def _settings(self) -> dict[str, str]:
        settings = {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "6",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__FERNET_KEY": "",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self.database,
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(a_closed_port()),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(a_closed_port()),
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
            "PYTHONPATH": str(Path(__file__).parent / "settings"),
            "PYTHONWARNINGS": "ignore",
        }
        if AIRFLOW_2:
            return settings | {
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS": "sqlite_patience.CONNECT_ARGS",
                "_AIRFLOW__SKIP_DATABASE_EXECUTOR_COMPATIBILITY_CHECK": "1",
            }
        address = f"http://127.0.0.1:{a_closed_port()}"
        return settings | {
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": address.rpartition(":")[2],
            "AIRFLOW__API__BASE_URL": address,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API__SECRET_KEY": "none-but-for-these-tests",
            "AIRFLOW__API_AUTH__JWT_SECRET": "none-but-for-these-tests-and-long-enough-to-sign-with-it-properly",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.home / "passwords.json"),
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        }

    @property
    def database(self) -> str:
        """The URL of the database."""
        return f"sqlite:///{self.home / 'airflow.db'}"

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "airflow", *arguments]

    def run(self, *arguments: str) -> None:
        """Run an Airflow command until it ends."""
        done = subprocess.run(
            self.command(*arguments), env=self.env, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")[-3000:]

    def start(self, part: str, *command: str) -> None:
        """Start a component in a session of its own. Its log is ``PART.log``.

        :param command: the Airflow command, if it is not the name of the component.
        """
        with (self.home / f"{part}.log").open("ab") as log:
            self.parts[part] = subprocess.Popen(
                self.command(*(command or [part])),
                env={**self.env, "PART": part},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def start_all(self) -> None:
        """Create the database and start all components."""
        self.run("db", "migrate")
        self.query("PRAGMA journal_mode = WAL")  # readers and a writer do not block each other
        if not AIRFLOW_2:
            self.start("api-server")
            self.start("dag-processor")  # in Airflow 2 with SQLite, the scheduler does this
        self.start("scheduler", "scheduler", "--skip-serve-logs")
        self.start_triggerer()

    def start_triggerer(self) -> None:
        self.start("triggerer", "triggerer", "--skip-serve-logs")

    def kill(self, part: str) -> None:
        """Kill -9 a component and all of its processes, and wait until they have ended."""
        end_session(self.parts.pop(part), signal.SIGKILL)

    def query(self, sql: str, **values: object) -> list[tuple[object, ...]]:
        """Query the database. The columns that these tests read are the same in every version of Airflow."""
        for part, process in list(self.parts.items()):
            log = self.home / f"{part}.log"
            assert process.poll() is None, f"{part} has ended:\n{log.read_text(errors='replace')[-3000:]}"
        with create_engine(self.database, poolclass=NullPool).connect() as connection:
            return [tuple(row) for row in connection.execute(text(sql), values)]

    def run_state(self, dag_id: str) -> str | None:
        """Return the state of the one run of a DAG."""
        rows = self.query("SELECT state FROM dag_run WHERE dag_id = :dag_id", dag_id=dag_id)
        return str(rows[0][0]) if rows else None

    def task(self, dag_id: str, task_id: str) -> tuple[str, int]:
        """Return the state of a task and its number of tries."""
        rows = self.query(
            "SELECT state, try_number FROM task_instance WHERE dag_id = :dag_id AND task_id = :task_id",
            dag_id=dag_id,
            task_id=task_id,
        )
        return (str(rows[0][0]), int(str(rows[0][1]))) if rows else ("None", 0)

    def log(self, dag_id: str, task_id: str = "*", attempt: int | str = "*") -> str:
        """Return the log of a try of a task, or of all tries of all tasks."""
        files = (self.home / "logs").glob(
            f"dag_id={dag_id}/run_id=*/task_id={task_id}/**/attempt={attempt}.log*"
        )
        return "\n".join(file.read_text(errors="replace") for file in sorted(files))


@contextmanager
def running(airflow: Airflow) -> Iterator[Airflow]:
    """Start all components; end all of their processes at the end."""
    (airflow.home / "passwords.json").write_text(json.dumps({"admin": "admin"}))
    try:
        airflow.start_all()
        yield airflow
    finally:
        for process in airflow.parts.values():
            end_session(process, signal.SIGKILL)


def end_session(leader: subprocess.Popen[bytes], number: int) -> None:
    """End every process of a session: components of Airflow create process groups of their own."""
    deadline = time.monotonic() + 30
    while members := in_session(leader.pid):
        assert time.monotonic() < deadline, f"these processes still run: {members}"
        for pid in members:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        leader.poll()
        time.sleep(0.1)
    leader.wait(timeout=30)


def in_session(session: int) -> list[int]:
    members = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, PermissionError, psutil.Error):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process.pid)
    return members
