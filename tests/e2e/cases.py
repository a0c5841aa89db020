"""What is done to each DAG run, and what must come of it."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_provider_flowroute.simulator import FlowrouteSimulator
from tests.e2e.airflow_processes import AIRFLOW_2, KEEPS_STATE, Airflow, free_port, until

FOR_EVER = float("inf")
WINDOW = {"start": "2026-03-02 00:00:00", "end": "2026-03-03 00:00:00"}


@dataclass(frozen=True)
class Case:
    """One DAG run and its mishap.

    :param name: the DAG's id and the connection's.
    :param mishap: what is done to it, in words.
    :param director: what does it, while the run goes on.
    :param mode: ``plain`` (a sensor waits), ``waiting`` or ``deferrable`` (create waits itself).
    :param held_at: where the first try of create stays to be killed: ``before`` or ``after`` its own work.
    :param fault: what the account does, with its options.
    :param processing_seconds: how long an export takes.
    :param tries: how many tries of create it must take.
    :param exports: how many exports the account must have in the end.
    :param id_is_known: whether an Airflow that keeps state for a task has no need of the account's list.
    :param goes_on: whether a task beside it keeps the run from ending, until it may.
    :param taken_up: whether the last try goes on with the export of an earlier one.
    """

    name: str
    mishap: str
    director: Callable[[Run], None]
    mode: str = "plain"
    held_at: str | None = None
    fault: tuple[str, dict[str, Any]] | None = None
    processing_seconds: float = 1
    tries: int = 2
    exports: int = 1
    id_is_known: bool = False
    goes_on: bool = False
    taken_up: bool = True


class Run:
    """A case at work.

    :param case: which.
    :param directory: where its processes say who they are, and where its file lands.
    """

    def __init__(self, case: Case, directory: Path) -> None:
        self.case = case
        self.directory = directory
        directory.mkdir()
        self.ports = free_port(), free_port()
        self.state = directory / "account.json"
        self.path = directory / "cdrs.csv.gz"
        self.flowroute = self._account()
        self.airflow: Airflow

    def _account(self) -> FlowrouteSimulator:
        return FlowrouteSimulator(
            calls_per_day=50,
            processing_seconds=self.case.processing_seconds,
            port=self.ports[0],
            download_port=self.ports[1],
            state=self.state,
        )

    def as_json(self) -> dict[str, Any]:
        """What the DAG file must know."""
        case = self.case
        return {
            **WINDOW,
            "name": case.name,
            "mode": case.mode,
            "held_at": case.held_at,
            "goes_on": case.goes_on,
            "directory": str(self.directory),
            "path": str(self.path),
        }

    def direct(self, airflow: Airflow) -> None:
        """Do what the case says, then wait for the run's end."""
        self.airflow = airflow
        until(lambda: airflow.run_state(self.case.name) == "running", f"{self.case.name} runs")
        self.case.director(self)
        until(
            lambda: self.landings and airflow.run_state(self.case.name) in ("success", "failed"),
            f"{self.case.name} ends",
        )

    @property
    def landings(self) -> bool:
        """Whether the last landing of the run is over, one way or the other."""
        return self.airflow.task(self.case.name, "land")[0] in ("success", "failed", "upstream_failed")

    def until_said(self, point: str, attempt: int = 1) -> int:
        """Wait until a try of create says who it is.

        :return: its process's id.
        """
        file = self.directory / f"create.{attempt}.{point}"
        until(file.exists, f"{self.case.name}: try {attempt} is {point} its work")
        return int(file.read_text())

    def kill(self, attempt: int = 1) -> None:
        """Kill -9 a try of create."""
        os.kill(self.until_said("before", attempt), signal.SIGKILL)

    def until_deferred(self) -> None:
        """Wait until create waits in the triggerer, and the trigger has looked."""
        until(
            lambda: self.airflow.task(self.case.name, "create")[0] == "deferred",
            f"{self.case.name} is deferred",
        )
        seen = self.flowroute.exports[0].reads
        until(lambda: self.flowroute.exports[0].reads > seen, f"{self.case.name}: its trigger looks")


def nothing(run: Run) -> None:
    """Let it run."""


def kill_where_it_stays(run: Run) -> None:
    assert run.case.held_at is not None
    run.until_said(run.case.held_at)
    run.kill()


def kill_when_a_request_is_held(run: Run) -> None:
    until(lambda: run.flowroute.held, f"{run.case.name}: a request is held")
    run.kill()


def kill_in_its_wait(run: Run) -> None:
    until(lambda: run.flowroute.exports and run.flowroute.exports[0].reads >= 2, f"{run.case.name}: it waits")
    run.kill()
    run.until_said("before", attempt=2)
    run.flowroute.complete(run.flowroute.exports[0].id)


def kill_the_triggerer(run: Run) -> None:
    run.until_deferred()
    run.airflow.kill_triggerer()
    run.flowroute.complete(run.flowroute.exports[0].id)
    run.airflow.start_triggerer()


def restart_the_account(run: Run) -> None:
    run.until_deferred()
    run.flowroute.stop()
    with closing(socket.create_server(("127.0.0.1", run.ports[0]))) as nobody:
        nobody.settimeout(120)
        nobody.accept()[0].close()  # the trigger has looked, and met a dropped connection
    run.flowroute = run._account()
    run.flowroute.start()
    run.flowroute.complete(run.flowroute.exports[0].id)


def clear_and_kill(run: Run) -> None:
    name = run.case.name
    until(lambda: run.airflow.run_state(name) == "success", f"{name} succeeds the first time")
    run.flowroute.add_fault("held_request", on="create", after=True)
    run.airflow.run("tasks", "clear", "--yes", name)
    until(lambda: run.flowroute.held, f"{name}: a request is held")
    run.kill(attempt=2)
    until(lambda: run.airflow.task(name, "land")[1] >= 2, f"{name} lands the second time")


def landed_again(run: Run) -> bool:
    """Whether the landing has succeeded once more, in however many tries."""
    state, tries = run.airflow.task(run.case.name, "land")
    return state == "success" and tries >= 2


def clear_within_the_run_and_kill(run: Run) -> None:
    name = run.case.name
    until(lambda: run.airflow.task(name, "land")[0] == "success", f"{name} lands the first time")
    run.flowroute.clock_ahead += 300  # so much later, and no wait for it
    run.flowroute.add_fault("held_request", on="create")
    run.airflow.run("tasks", "clear", "--yes", "--task-regex", "create", "--downstream", name)
    until(lambda: run.flowroute.held, f"{name}: a request is held")
    assert run.airflow.run_state(name) == "running"
    run.kill(attempt=2)
    until(lambda: landed_again(run), f"{name} lands the second time")
    (run.directory / "may_end").touch()


def clear_in_its_wait(run: Run) -> None:
    name = run.case.name
    until(lambda: run.flowroute.exports and run.flowroute.exports[0].reads >= 2, f"{name}: it waits")
    run.airflow.run("tasks", "clear", "--yes", "--task-regex", "create", name)
    run.until_said("before", attempt=2)
    seen = run.flowroute.exports[0].reads
    until(
        lambda: len(run.flowroute.exports) == 2 or run.flowroute.exports[0].reads > seen + 1,
        f"{name}: it waits again",
    )
    for export in run.flowroute.exports:
        run.flowroute.complete(export.id)


HELD_BEFORE = ("held_request", {"on": "create"})
HELD_AFTER = ("held_request", {"on": "create", "after": True})
HELD_LOOK = ("held_request", {"on": "status"})

#: In Airflow 2 a task that is cleared while it runs is retried as if nothing had been said.
CLEARED_ITSELF = 1 if AIRFLOW_2 else 2
#: 3.0 to 3.2 do not tell a task when it was cleared, if its run was not over: what is known not to work there.
KNOWS_ITS_CLEAR = AIRFLOW_2 or KEEPS_STATE

CASES = [
    Case("nothing", "nothing", nothing, tries=1, id_is_known=True, taken_up=False),
    Case(
        "a_before",
        "(a) killed before the POST",
        kill_where_it_stays,
        held_at="before",
        taken_up=False,
        id_is_known=True,
    ),
    *(
        Case(
            f"a_under_way_{mode}",
            "(a) killed in the POST, which Flowroute never carried out",
            kill_when_a_request_is_held,
            mode=mode,
            fault=HELD_BEFORE,
            taken_up=False,
        )
        for mode in ("plain", "deferrable")
    ),
    *(
        Case(
            f"b_{mode}",
            "(b) killed after the POST, before its reply was read",
            kill_when_a_request_is_held,
            mode=mode,
            fault=HELD_AFTER,
        )
        for mode in ("plain", "waiting", "deferrable")
    ),
    *(
        Case(
            f"c_{mode}",
            "(c) killed after its work, before Airflow heard of it",
            kill_where_it_stays,
            mode=mode,
            held_at="after",
            id_is_known=True,
        )
        for mode in ("plain", "waiting")
    ),
    Case(
        "d_waiting",
        "(d) killed in a synchronous wait",
        kill_in_its_wait,
        mode="waiting",
        processing_seconds=FOR_EVER,
        id_is_known=True,
    ),
    Case(
        "e_deferring",
        "(e) killed after the reply, on its way to defer",
        kill_when_a_request_is_held,
        mode="deferrable",
        fault=HELD_LOOK,
        id_is_known=True,
    ),
    Case(
        "e_resumed",
        "(e) killed when it had resumed, before Airflow heard of it",
        kill_where_it_stays,
        mode="deferrable",
        held_at="after",
        id_is_known=True,
    ),
    Case(
        "triggerer",
        "triggerer killed in mid-deferral; a new one started",
        kill_the_triggerer,
        mode="deferrable",
        processing_seconds=FOR_EVER,
        id_is_known=True,
        tries=1,
        taken_up=False,
    ),
    Case(
        "account",
        "Flowroute (the simulator) gone in mid-deferral, and back",
        restart_the_account,
        mode="deferrable",
        processing_seconds=FOR_EVER,
        id_is_known=True,
        tries=1,
        taken_up=False,
    ),
    Case("lost_reply", "the POST's reply lost", nothing, fault=("lost_reply", {}), tries=1, taken_up=False),
    Case("cleared", "succeeded, cleared, then as (b)", clear_and_kill, tries=3, exports=2),
    *(
        [
            Case(
                "cleared_in_its_run",
                "succeeded, cleared while its run went on, then as (a)",
                clear_within_the_run_and_kill,
                tries=3,
                exports=2,
                taken_up=False,
                goes_on=True,
            ),
        ]
        if KNOWS_ITS_CLEAR
        else []
    ),
    Case(
        "cleared_itself",
        "cleared in a synchronous wait",
        clear_in_its_wait,
        mode="waiting",
        processing_seconds=FOR_EVER,
        exports=CLEARED_ITSELF,
        taken_up=CLEARED_ITSELF == 1,
        id_is_known=True,
    ),
]
