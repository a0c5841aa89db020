"""A task leaves no open connection behind, whether it succeeds, fails or defers."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_provider_flowroute.hooks.flowroute import FlowrouteHook
from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator
from airflow_provider_flowroute.sensors.cdr_export import CdrExportSensor
from airflow_provider_flowroute.simulator import FlowrouteSimulator

SAMPLE = {"start_call_start_time": "2019-06-25", "start_call_end_time": "2019-06-26"}


def open_connections(flowroute: FlowrouteSimulator) -> list[Any]:
    """Return this process's connections to the simulator that the client has not closed."""
    port = urlsplit(flowroute.url).port
    return [
        connection
        for connection in psutil.Process().net_connections("tcp")
        if connection.raddr and connection.raddr.port == port and connection.status == "ESTABLISHED"
    ]


def create(**options: Any) -> CreateCdrExportOperator:
    return CreateCdrExportOperator(task_id="create", **SAMPLE, **options)


def wait(export_id: str, **options: Any) -> CdrExportSensor:
    return CdrExportSensor(task_id="wait", export_id=export_id, **options)


def test_hook_keeps_its_connection_until_it_is_closed(flowroute: FlowrouteSimulator):
    hook = FlowrouteHook()
    list(hook.get_conn().list_cdr_exports())
    assert len(open_connections(flowroute)) == 1

    hook.close()
    hook.close()
    assert open_connections(flowroute) == []

    assert list(hook.get_conn().list_cdr_exports()) == []
    hook.close()


def test_connection_test_closes_its_connection(flowroute: FlowrouteSimulator):
    hook = FlowrouteHook()
    assert hook.test_connection()[0]

    assert open_connections(flowroute) == []


# In the tests below, the variables keep the tasks from being garbage-collected, which closes connections too.


@pytest.mark.parametrize("deferrable", [False, True])
def test_successful_tasks_close_their_connections(flowroute: FlowrouteSimulator, deferrable: bool):
    creator = create(wait_for_completion=True, deferrable=deferrable)
    export_id = creator.execute({})
    assert open_connections(flowroute) == []

    sensor = wait(export_id, deferrable=deferrable)
    sensor.execute({})
    assert open_connections(flowroute) == []

    sensor.execute_complete({}, {"status": "completed", "export_id": export_id, "message": ""})
    assert open_connections(flowroute) == []
    assert len(flowroute.requests) == 4


@pytest.mark.parametrize("deferrable", [False, True])
def test_failed_tasks_close_their_connections(flowroute: FlowrouteSimulator, deferrable: bool):
    flowroute.add_fault("forbidden", on="create")
    creator, sensor = create(), wait("4711", deferrable=deferrable)
    for task in (creator, sensor):
        with pytest.raises(AirflowFailException):
            task.execute({})

    assert len(flowroute.requests) == 2
    assert open_connections(flowroute) == []


@pytest.mark.flowroute(processing_seconds=float("inf"))
def test_deferred_tasks_close_their_connections(flowroute: FlowrouteSimulator):
    creator = create(wait_for_completion=True, deferrable=True)
    with pytest.raises(TaskDeferred):
        creator.execute({})
    sensor = wait(flowroute.exports[0].id, deferrable=True)
    with pytest.raises(TaskDeferred):
        sensor.execute({})

    assert open_connections(flowroute) == []
