"""The trigger against the simulator: its event, its arguments, and what both promise to the task."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from airflow_provider_flowroute.exceptions import (
    CdrExportFailedError,
    CdrExportTimeoutError,
    FlowrouteError,
)
from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator
from airflow_provider_flowroute.triggers.cdr_export import CdrExportTrigger, export_id_from_event
from tests.triggers.account import a_trigger

SAMPLE = {"start_call_start_time": "2019-06-25", "start_call_end_time": "2019-06-26"}


def events(*triggers):
    async def run(trigger):
        return [event.payload async for event in trigger.run()]

    async def run_all():
        return await asyncio.gather(*map(run, triggers))

    return asyncio.run(run_all())


def new_export():
    return CreateCdrExportOperator(task_id="create", **SAMPLE).execute({})


@pytest.mark.flowroute(processing_seconds=0.2)
def test_completed_export_fires_with_json_scalars_only(flowroute):
    export_id = new_export()

    [[event]] = events(a_trigger(export_id))

    assert event == {
        "status": "completed",
        "export_id": export_id,
        "message": f"Export {export_id} is completed.",
    }


@pytest.mark.flowroute(processing_seconds=0.2)
def test_restarted_triggerer_may_run_a_trigger_twice_at_once(flowroute):
    trigger = a_trigger(new_export())
    path, arguments = trigger.serialize()
    again = CdrExportTrigger(**json.loads(json.dumps(arguments)))

    first, second = events(trigger, again)

    assert first == second
    assert path == "airflow_provider_flowroute.triggers.cdr_export.CdrExportTrigger"
    assert again.serialize() == (path, arguments)


def test_failed_export_fires_with_cause_and_fix(flowroute):
    flowroute.add_fault("failed_export")
    export_id = new_export()

    [[event]] = events(a_trigger(export_id))

    assert (event["status"], event["export_id"]) == ("failed", export_id)
    assert "Create a new export" in event["message"]


def test_permanent_error_fires_with_the_message_of_flowroute(flowroute):
    export_id = new_export()
    flowroute.add_fault("unauthorized", detail="The key has expired.", times=None)

    [[event]] = events(a_trigger(export_id))

    assert event["status"] == "error"
    assert "The key has expired" in event["message"]


def test_transient_error_is_waited_out(flowroute):
    export_id = new_export()
    flowroute.add_fault("dropped_connection", on="status", times=2)

    [[event]] = events(a_trigger(export_id))

    assert event["status"] == "completed"


@pytest.mark.flowroute(processing_seconds=float("inf"))
def test_last_poll_comes_at_the_deadline(flowroute):
    export_id = new_export()

    [[event]] = events(a_trigger(export_id, timeout=0.2, poke_interval=60))

    assert event["status"] == "timeout"
    assert flowroute.exports[0].reads == 2


def test_trigger_restarted_after_its_deadline_still_polls(flowroute):
    export_id = new_export()

    [[event]] = events(a_trigger(export_id, wait=-100, timeout=-50))

    assert event["status"] == "completed"


def test_first_poll_is_at_least_ten_seconds_after_the_deferral():
    before = time.time()
    trigger = CdrExportTrigger.starting_now(
        "1", flowroute_conn_id="flowroute_default", poke_interval=1, timeout=3600
    )

    assert trigger.first_poll_at >= before + 10
    assert trigger.deadline == pytest.approx(before + 3600, abs=1)


@pytest.mark.parametrize("conn_id", ["flowroute_default", "undefined"])
def test_no_event_comes_before_the_time_of_the_first_poll(flowroute, conn_id):
    """An early event would meet a race of Airflow 3.3: see MIN_DEFERRAL_SECONDS."""
    trigger = a_trigger(new_export(), conn_id, wait=0.5, timeout=0.1)

    [[event]] = events(trigger)

    assert time.time() >= trigger.first_poll_at
    assert event["status"] == ("completed" if conn_id == "flowroute_default" else "error")


def test_slow_answer_does_not_delay_triggers_of_another_connection(flowroute, monkeypatch):
    slow, quick = new_export(), new_export()
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", flowroute.connection_json)
    flowroute.add_fault("slow_reply", on="status", seconds=1.0, times=1)

    async def first_to_end():
        async def run(trigger):
            async for event in trigger.run():
                return event.payload["export_id"]
            return None

        tasks = [
            asyncio.create_task(run(a_trigger(slow))),
            asyncio.create_task(run(a_trigger(quick, "other", wait=0.2))),
        ]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.gather(*tasks)
        return [task.result() for task in done]

    assert asyncio.run(first_to_end()) == [quick]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("failed", CdrExportFailedError),
        ("timeout", CdrExportTimeoutError),
        ("error", FlowrouteError),
        ("later", FlowrouteError),
    ],
)
def test_event_without_a_completed_export_raises_its_message(status, error):
    with pytest.raises(error, match="the message") as caught:
        export_id_from_event({"status": status, "export_id": "1", "message": "the message"})

    assert type(caught.value) is error


@pytest.mark.parametrize("event", [None, "1", {}, {"status": "completed"}, {"export_id": "1"}])
def test_event_of_another_shape_is_an_error(event):
    with pytest.raises(FlowrouteError, match="event"):
        export_id_from_event(event)
