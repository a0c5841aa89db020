from __future__ import annotations

import asyncio
import json
import time

import pytest

from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator
from airflow_provider_flowroute.triggers.cdr_export import CdrExportTrigger

SAMPLE = {"start_call_start_time": "2019-06-25", "start_call_end_time": "2019-06-26"}


def a_trigger(export_id, *, wait=0.0, timeout=5.0, poke_interval=0.05):
    now = time.time()
    return CdrExportTrigger(export_id, "flowroute_default", poke_interval, now + timeout, now + wait)


def events(*triggers):
    async def run(trigger):
        return [event.payload async for event in trigger.run()]

    async def run_all():
        return await asyncio.gather(*map(run, triggers))

    return asyncio.run(run_all())


def new_export():
    return CreateCdrExportOperator(task_id="create", **SAMPLE).execute({})


def test_a_completed_export_fires_with_json_scalars_alone(an_account):
    an_account(processing_seconds=0.2)
    export_id = new_export()

    [[event]] = events(a_trigger(export_id))

    assert event == {
        "status": "completed",
        "export_id": export_id,
        "message": f"Export {export_id} is completed.",
    }


def test_a_restarted_triggerer_may_run_it_twice_at_once(an_account):
    an_account(processing_seconds=0.2)
    trigger = a_trigger(new_export())
    path, arguments = trigger.serialize()
    again = CdrExportTrigger(**json.loads(json.dumps(arguments)))

    first, second = events(trigger, again)

    assert first == second
    assert path == "airflow_provider_flowroute.triggers.cdr_export.CdrExportTrigger"
    assert again.serialize() == (path, arguments)


def test_a_failed_export_fires_with_its_story(account):
    account.add_fault("failed_export")
    export_id = new_export()

    [[event]] = events(a_trigger(export_id))

    assert (event["status"], event["export_id"]) == ("failed", export_id)
    assert "Create a new export" in event["message"]


def test_a_permanent_error_fires_with_flowroutes_words(account):
    export_id = new_export()
    account.add_fault("unauthorized", detail="The key has expired.", times=None)

    [[event]] = events(a_trigger(export_id))

    assert event["status"] == "error"
    assert "The key has expired" in event["message"]


def test_a_passing_error_is_waited_out(account):
    export_id = new_export()
    account.add_fault("dropped_connection", on="status", times=2)

    [[event]] = events(a_trigger(export_id))

    assert event["status"] == "completed"


def test_it_looks_once_more_at_its_deadline_and_then_gives_up(an_account):
    account = an_account(processing_seconds=float("inf"))
    export_id = new_export()

    [[event]] = events(a_trigger(export_id, timeout=0.2, poke_interval=60))

    assert event["status"] == "timeout"
    assert account.exports[0].reads == 2


def test_a_trigger_restarted_after_its_deadline_still_looks_before_it_gives_up(account):
    export_id = new_export()

    [[event]] = events(a_trigger(export_id, wait=-100, timeout=-50))

    assert event["status"] == "completed"


def test_the_first_look_comes_no_sooner_than_ten_seconds_after_the_deferral():
    before = time.time()
    trigger = CdrExportTrigger.starting_now(
        "1", flowroute_conn_id="flowroute_default", poke_interval=1, timeout=3600
    )

    assert trigger.first_poll_at >= before + 10
    assert trigger.deadline == pytest.approx(before + 3600, abs=1)


def test_a_slow_answer_does_not_hold_up_the_triggers_beside_it(an_account):
    account = an_account()
    slow, quick = new_export(), new_export()
    account.add_fault("slow_reply", on="status", seconds=1.0, times=1)

    async def first_to_end():
        async def run(trigger):
            async for event in trigger.run():
                return event.payload["export_id"]
            return None

        tasks = [
            asyncio.create_task(run(a_trigger(slow))),
            asyncio.create_task(run(a_trigger(quick, wait=0.2))),
        ]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.gather(*tasks)
        return [task.result() for task in done]

    assert asyncio.run(first_to_end()) == [quick]
