"""The cases: what happens to a run of an example DAG, and the outcome that it must have."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.e2e.airflow_processes import Airflow, wait_for
from tests.e2e.runs import FOREVER, Case, Run
from tests.e2e_celery.celery_airflow import CeleryAirflow

EXAMPLES = Path(__file__).parents[2] / "example_dags"
FILES = {"daily": "flowroute_daily_cdrs", "backfill": "flowroute_backfill"}


class ExampleRun(Run):
    """A run of an example DAG with a name, a connection and a lake of its own.

    Its exports are completed after the failure. The case's mode is the name of the example.
    """

    airflow: CeleryAirflow

    @property
    def lake(self) -> Path:
        return self.directory / "lake"

    def write_dag(self, folder: Path) -> None:
        """Write the DAG file of the run."""
        name = FILES[self.case.mode]
        source = (EXAMPLES / f"{name}.py").read_text()
        retry_delay = '"retry_delay": timedelta(minutes=1)'
        for old, new in {
            f'dag_id="{name}"': f'dag_id="{self.case.name}"',
            retry_delay: f'"retry_delay": timedelta(seconds=1), "flowroute_conn_id": "{self.case.name}"',
            "'/tmp/flowroute'": f"'{self.lake}'",
            # Today's run does not wait until it is two o'clock.
            "float(hours)": "0",
        }.items():
            assert old in source or self.case.mode == "backfill", f"{name}.py has no {old}"
            source = source.replace(old, new)
        (folder / f"{self.case.name}.py").write_text(source)

    def connection_json(self) -> str:
        # A request is held for longer than the default timeout, which is 60 s.
        return json.dumps({**self.flowroute.connection, "extra": {"read_timeout": 600}})

    def carry_out(self, airflow: Airflow) -> None:
        assert isinstance(airflow, CeleryAirflow)
        if self.case.name == "redelivered":
            # A worker that is killed receives nothing twice.
            wait_for(lambda: len(airflow.killed_workers) == 2, "both workers are killed", 600)
        if self.case.mode == "backfill":
            airflow.trigger(self.case.name)
        super().carry_out(airflow)

    def has_ended(self) -> bool:
        self.complete_exports()
        return self.airflow.run_state(self.case.name) in ("success", "failed")

    def complete_exports(self) -> None:
        for export in self.flowroute.exports:
            if export.status == "processing":
                self.flowroute.complete(export.id)

    def wait_until_held(self, task_id: str) -> tuple[str, str]:
        """Wait until a request of a task is held and all other mapped tasks have succeeded.

        :return: the worker and the ID of the Celery message of the task that waits.
        """

        def held() -> list[tuple[str, str]]:
            rows = self.airflow.query(
                "SELECT state, hostname, external_executor_id FROM task_instance"
                " WHERE dag_id = :dag_id AND task_id = :task_id",
                dag_id=self.case.name,
                task_id=task_id,
            )
            running = [(str(worker), str(message)) for state, worker, message in rows if state == "running"]
            others = sum(state == "success" for state, *_ in rows)
            alone = len(running) == 1 and others == len(rows) - 1
            return running if alone and self.flowroute.held else []

        return wait_for(held, f"{self.case.name}: a request of {task_id} is held", 600)[0]


def no_failure(run: ExampleRun) -> None:
    """Do nothing."""


def kill_the_worker_in_create(run: ExampleRun) -> None:
    worker, _ = run.wait_until_held("create")
    run.airflow.replace_worker(worker, held_creates=1)


def kill_the_worker_in_land(run: ExampleRun) -> None:
    # The worker in create is killed first: it could be the same one.
    wait_for(lambda: run.airflow.killed_workers, f"{run.case.name}: the first worker is killed", 600)
    wait_for(lambda: len(run.flowroute.exports) == 4, f"{run.case.name}: all exports are created", 600)
    run.complete_exports()
    worker, _ = run.wait_until_held("land")
    run.airflow.replace_worker(worker, held_creates=0)


def kill_a_triggerer(run: ExampleRun) -> None:
    def triggerers() -> list[str]:
        rows = run.airflow.query(
            "SELECT job.hostname FROM task_instance JOIN trigger ON task_instance.trigger_id = trigger.id"
            " JOIN job ON trigger.triggerer_id = job.id WHERE task_instance.dag_id = :dag_id",
            dag_id=run.case.name,
        )
        return [str(name) for (name,) in rows]

    wait_for(lambda: len(triggerers()) == 4, f"{run.case.name}: the triggerers wait for all exports", 600)
    run.airflow.kill(Counter(triggerers()).most_common(1)[0][0])


def kill_a_scheduler(run: ExampleRun) -> None:
    run.wait_until_held("create")
    run.airflow.kill("scheduler1")
    run.flowroute.release()


def redeliver(run: ExampleRun) -> None:
    _, message = run.wait_until_held("create")
    wait_for(lambda: run.airflow.has_ignored(message), f"{run.case.name}: a worker receives it again", 600)
    run.flowroute.release()


def example_case(
    name: str,
    failure: str,
    inject: Callable[[ExampleRun], None],
    *,
    mode: str = "backfill",
    held: str | None = None,
    after: bool = False,
    tries: int = 1,
) -> Case:
    """Return a case.

    :param held: the request that the account holds.
    :param after: whether the account has executed it.
    :param tries: the least number of tries of the task that has the most.
    """
    fault = None if held is None else ("held_request", {"on": held, "after": after})
    return Case(name, failure, inject, mode, None, fault, FOREVER, tries, exports=1 if mode == "daily" else 4)


CASES = [
    example_case("daily", "none of its own", no_failure, mode="daily"),
    example_case("backfill", "none of its own", no_failure),
    example_case(
        "worker_in_create",
        "a worker killed after the POST, before it read the response",
        kill_the_worker_in_create,
        held="create",
        after=True,
        tries=2,
    ),
    example_case(
        "worker_in_land", "a worker killed in land", kill_the_worker_in_land, held="download", tries=2
    ),
    example_case(
        "triggerer", "a triggerer killed during the deferral; the other one takes over", kill_a_triggerer
    ),
    example_case(
        "scheduler",
        "a scheduler killed while create was running; the other one takes over",
        kill_a_scheduler,
        mode="daily",
        held="create",
        after=True,
    ),
    example_case(
        "redelivered",
        "Redis delivers a running create again (`visibility_timeout`)",
        redeliver,
        held="create",
        after=True,
    ),
]
