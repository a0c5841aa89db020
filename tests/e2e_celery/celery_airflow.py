"""An Airflow with CeleryExecutor, Postgres and Redis: the components that a production deployment has."""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.airflow_processes import Airflow, wait_for
from tests.services import listens

#: Seconds after which Redis delivers the message of a task that is still running a second time.
VISIBILITY_TIMEOUT = 30


@dataclass
class CeleryAirflow(Airflow):
    """An Airflow with two workers, two triggerers and two schedulers. The name of each one is its hostname.

    :param database_url: the URL of a Postgres database.
    :param broker_url: the URL of a Redis.
    """

    database_url: str = field(kw_only=True)
    broker_url: str = field(kw_only=True)
    #: The workers that were killed.
    killed_workers: list[str] = field(default_factory=list)

    @property
    def database(self) -> str:
        return self.database_url.replace("postgresql:", "postgresql+psycopg2:")

    def _settings(self) -> dict[str, str]:
        return super()._settings() | {
            "AIRFLOW__CELERY__BROKER_URL": self.broker_url,
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{self.database}",
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": "4",
            "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": str(VISIBILITY_TIMEOUT),
            # A worker looks every 5 s for messages to deliver again; the default is 100 s.
            "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__UNACKED_RESTORE_INTERVAL": "5",
            "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__UNACKED_RESTORE_THROTTLE": "1",
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": "part.name",
            "AIRFLOW__CORE__PARALLELISM": "16",
            # The other scheduler takes over the tasks that a killed one has queued.
            "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "30",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
        }

    def start_all(self) -> None:
        self.run("db", "migrate")
        self.start("api-server")
        self.start("dag-processor")
        for number in (1, 2):
            for part in ("scheduler", "triggerer"):
                pid = str(self.home / f"{part}{number}.pid")
                self.start(f"{part}{number}", part, "--skip-serve-logs", "--pid", pid)
            self.start_worker(f"worker{number}")
        port = int(self.env["AIRFLOW__API__PORT"])
        wait_for(lambda: listens(port), "the API server listens", 600)

    def start_worker(self, name: str) -> None:
        pid = self.home / f"{name}.pid"
        pid.unlink(missing_ok=True)  # of a worker that was killed
        self.start(
            name,
            "celery",
            "worker",
            "--skip-serve-logs",
            "--celery-hostname",
            f"{name}@%h",
            "--pid",
            str(pid),
        )

    def replace_worker(self, name: str, held_creates: int) -> None:
        """Kill -9 a worker with all of its tasks, and start another one.

        :param held_creates: how many creates the worker must be running.
        """
        # A create that is killed after Airflow recorded its success cannot delete its state any more.
        wait_for(
            lambda: self.unfinished_creates(name) == held_creates, f"{name} finishes its other creates", 600
        )
        self.kill(name)
        self.start_worker(name)
        self.killed_workers.append(name)

    def unfinished_creates(self, worker: str) -> int:
        """Count the creates that a worker has started and whose process has not ended."""
        [(number,)] = self.query(
            "SELECT count(*) FROM task_instance LEFT JOIN celery_taskmeta"
            " ON celery_taskmeta.task_id = external_executor_id"
            " WHERE task_instance.task_id = 'create' AND hostname = :worker"
            " AND coalesce(status, '') NOT IN ('SUCCESS', 'FAILURE')",
            worker=worker,
        )
        return int(str(number))

    def trigger(self, dag_id: str) -> None:
        """Trigger a DAG by Airflow's REST API."""
        is_parsed = "SELECT 1 FROM dag WHERE dag_id = :dag_id"
        wait_for(lambda: self.query(is_parsed, dag_id=dag_id), f"{dag_id} is parsed", 600)
        token = self._post("/auth/token", {"username": "admin", "password": "admin"})["access_token"]
        run = {"logical_date": None}
        self._post(f"/api/v2/dags/{dag_id}/dagRuns", run, Authorization=f"Bearer {token}")

    def _post(self, path: str, body: dict[str, Any], **headers: str) -> Any:
        url = self.env["AIRFLOW__API__BASE_URL"] + path
        headers["Content-Type"] = "application/json"
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=120) as response:
            return json.load(response)

    def has_ignored(self, message: str) -> bool:
        """Whether a worker received a Celery message again and ignored it."""
        line = f"[{message}] Task already running elsewhere, ignoring redelivered message"
        return any(line in log.read_text(errors="replace") for log in self.home.glob("worker*.log"))
