"""The cases: what happens to each DAG run, and the outcome that it must have."""

from __future__ import annotations

import socket
from contextlib import closing

from tests.e2e.airflow_processes import AIRFLOW_2, KEEPS_STATE, wait_for
from tests.e2e.runs import FOREVER, Case, Run


def no_failure(run: Run) -> None:
    """Do nothing."""


def kill_where_it_is_held(run: Run) -> None:
    assert run.case.held_at is not None
    run.wait_for_process(run.case.held_at)
    run.kill()


def kill_when_a_request_is_held(run: Run) -> None:
    wait_for(lambda: run.flowroute.held, f"{run.case.name}: a request is held")
    run.kill()


def kill_in_its_wait(run: Run) -> None:
    wait_for(
        lambda: run.flowroute.exports and run.flowroute.exports[0].reads >= 2, f"{run.case.name}: it waits"
    )
    run.kill()
    run.wait_for_process("before", attempt=2)
    run.flowroute.complete(run.flowroute.exports[0].id)


def kill_the_triggerer(run: Run) -> None:
    run.wait_until_deferred()
    run.airflow.kill("triggerer")
    run.flowroute.complete(run.flowroute.exports[0].id)
    run.airflow.start_triggerer()


def restart_the_account(run: Run) -> None:
    run.wait_until_deferred()
    run.flowroute.stop()
    with closing(socket.create_server(("127.0.0.1", run.ports[0]))) as listener:
        listener.settimeout(120)
        listener.accept()[0].close()  # the trigger polls and loses its connection
    run.flowroute = run._account()
    run.flowroute.start()
    run.flowroute.complete(run.flowroute.exports[0].id)


def clear_and_kill(run: Run) -> None:
    name = run.case.name
    wait_for(lambda: run.airflow.run_state(name) == "success", f"{name} succeeds the first time")
    run.flowroute.add_fault("held_request", on="create", after=True)
    run.airflow.run("tasks", "clear", "--yes", name)
    wait_for(lambda: run.flowroute.held, f"{name}: a request is held")
    run.kill(attempt=2)
    wait_for(lambda: run.airflow.task(name, "land")[1] >= 2, f"{name} lands the second time")


def landed_again(run: Run) -> bool:
    """Whether the landing has succeeded a second time, in any number of tries."""
    state, tries = run.airflow.task(run.case.name, "land")
    return state == "success" and tries >= 2


def clear_within_the_run_and_kill(run: Run) -> None:
    name = run.case.name
    wait_for(lambda: run.airflow.task(name, "land")[0] == "success", f"{name} lands the first time")
    run.flowroute.clock_ahead += 300  # five minutes later, without a wait
    run.flowroute.add_fault("held_request", on="create")
    run.airflow.run("tasks", "clear", "--yes", "--task-regex", "create", "--downstream", name)
    wait_for(lambda: run.flowroute.held, f"{name}: a request is held")
    assert run.airflow.run_state(name) == "running"
    run.kill(attempt=2)
    wait_for(lambda: landed_again(run), f"{name} lands the second time")
    (run.directory / "may_end").touch()


def clear_in_its_wait(run: Run) -> None:
    name = run.case.name
    wait_for(lambda: run.flowroute.exports and run.flowroute.exports[0].reads >= 2, f"{name}: it waits")
    run.airflow.run("tasks", "clear", "--yes", "--task-regex", "create", name)
    run.wait_for_process("before", attempt=2)
    seen = run.flowroute.exports[0].reads
    wait_for(
        lambda: len(run.flowroute.exports) == 2 or run.flowroute.exports[0].reads > seen + 1,
        f"{name}: it waits again",
    )
    for export in run.flowroute.exports:
        run.flowroute.complete(export.id)


HELD_BEFORE = ("held_request", {"on": "create"})
HELD_AFTER = ("held_request", {"on": "create", "after": True})
HELD_POLL = ("held_request", {"on": "status"})

#: Airflow 2 retries a task that is cleared while it runs, as if it had not been cleared.
CLEARED_ITSELF = 1 if AIRFLOW_2 else 2
#: In 3.0 to 3.2 a task cannot see that it was cleared while its run was running. This does not work there.
KNOWS_ITS_CLEAR = AIRFLOW_2 or KEEPS_STATE

CASES = [
    Case("nothing", "none", no_failure, tries=1, id_is_known=True, resumes=False),
    Case(
        "a_before",
        "(a) killed before the POST",
        kill_where_it_is_held,
        held_at="before",
        resumes=False,
        id_is_known=True,
    ),
    *(
        Case(
            f"a_under_way_{mode}",
            "(a) killed during the POST, which Flowroute did not execute",
            kill_when_a_request_is_held,
            mode=mode,
            fault=HELD_BEFORE,
            resumes=False,
        )
        for mode in ("plain", "deferrable")
    ),
    *(
        Case(
            f"b_{mode}",
            "(b) killed after the POST, before it read the response",
            kill_when_a_request_is_held,
            mode=mode,
            fault=HELD_AFTER,
        )
        for mode in ("plain", "waiting", "deferrable")
    ),
    *(
        Case(
            f"c_{mode}",
            "(c) killed after its work, before Airflow recorded it",
            kill_where_it_is_held,
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
        processing_seconds=FOREVER,
        id_is_known=True,
    ),
    Case(
        "e_deferring",
        "(e) killed after the response, before it deferred",
        kill_when_a_request_is_held,
        mode="deferrable",
        fault=HELD_POLL,
        id_is_known=True,
    ),
    Case(
        "e_resumed",
        "(e) killed after it resumed, before Airflow recorded it",
        kill_where_it_is_held,
        mode="deferrable",
        held_at="after",
        id_is_known=True,
    ),
    Case(
        "triggerer",
        "triggerer killed during the deferral; a new one started",
        kill_the_triggerer,
        mode="deferrable",
        processing_seconds=FOREVER,
        id_is_known=True,
        tries=1,
        resumes=False,
    ),
    Case(
        "account",
        "Flowroute (the simulator) stopped and restarted during the deferral",
        restart_the_account,
        mode="deferrable",
        processing_seconds=FOREVER,
        id_is_known=True,
        tries=1,
        resumes=False,
    ),
    Case(
        "lost_reply",
        "response to the POST lost",
        no_failure,
        fault=("lost_reply", {}),
        tries=1,
        resumes=False,
    ),
    Case("cleared", "succeeded, cleared, then as (b)", clear_and_kill, tries=3, exports=2),
    *(
        [
            Case(
                "cleared_in_its_run",
                "succeeded, cleared while its run was running, then as (a)",
                clear_within_the_run_and_kill,
                tries=3,
                exports=2,
                resumes=False,
                run_continues=True,
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
        processing_seconds=FOREVER,
        exports=CLEARED_ITSELF,
        resumes=CLEARED_ITSELF == 1,
        id_is_known=True,
    ),
]
