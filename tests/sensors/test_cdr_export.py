"""What CdrExportSensor returns, how it waits, and which errors end it."""

from __future__ import annotations

import pytest
from airflow.exceptions import TaskDeferred
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
)

from airflow_provider_flowroute.exceptions import CdrExportNotCompletedError, FlowrouteServerError
from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator
from airflow_provider_flowroute.sensors.cdr_export import CdrExportSensor

SAMPLE = {"start_call_start_time": "2019-06-25", "start_call_end_time": "2019-06-26"}
QUICK = {"poke_interval": 0.05, "timeout": 5}


@pytest.fixture
def export_id(flowroute):
    return CreateCdrExportOperator(task_id="create", **SAMPLE).execute({})


def wait(export_id, **options):
    return CdrExportSensor(task_id="wait", export_id=export_id, **{**QUICK, **options}).execute({})


@pytest.mark.parametrize("deferrable", [False, True])
def test_success_returns_the_summary_without_the_link(export_id, deferrable):
    summary = wait(export_id, deferrable=deferrable)

    expires_at = summary.pop("expires_at")
    assert expires_at.endswith("+00:00")
    assert summary == {
        "id": export_id,
        "status": "completed",
        "window": {"start": "2019-06-25T00:00:00+00:00", "end": "2019-06-26T00:00:00+00:00"},
        "num_calls": 3,
        "total_cost": "0.024689",
        "billed_minutes": "3.0",
        "fees": {
            "call_subtotal": "0.018390",
            "connect_fees": "0.0",
            "cnamlookup_fees": "0.003900",
            "usf_fees": "0.0",
            "ccrf": "0.002399",
        },
    }


@pytest.mark.flowroute(extra={"retries": 0})
@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ("dropped_connection", {}),
        ("lost_reply", {}),
        ("rate_limit", {"retry_after": 3600}),
        ("rate_limit", {}),
        ("server_error", {"status": 503}),
        ("html_reply", {}),
    ],
)
def test_transient_error_pokes_again(flowroute, export_id, fault, options):
    flowroute.add_fault(fault, on="status", times=2, **options)

    assert wait(export_id)["num_calls"] == 3


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (("unauthorized", {"on": "status"}), "flowroute_default"),
        (("forbidden", {"on": "status"}), "may not"),
        (("wrong_shape", {"on": "status"}), "not an export"),
    ],
)
def test_permanent_error_fails_at_the_first_poke(flowroute, export_id, deferrable, fault, words):
    name, options = fault
    flowroute.add_fault(name, times=None, **options)

    with pytest.raises(AirflowFailException, match=words):
        wait(export_id, deferrable=deferrable)
    assert len([request for request in flowroute.requests if request.on == "status"]) == 1


def test_unknown_id_fails_at_once(flowroute):
    with pytest.raises(AirflowFailException, match="404"):
        wait("4711")


def test_unknown_status_fails_at_once(flowroute):
    flowroute.add_fault("unknown_status", status="archived")
    export_id = CreateCdrExportOperator(task_id="create", **SAMPLE).execute({})

    with pytest.raises(AirflowFailException, match="archived"):
        wait(export_id)


@pytest.mark.parametrize("value", [None, "None", "", "  ", True, ["1"]])
def test_missing_export_id_fails_before_any_request(flowroute, value):
    sensor = CdrExportSensor(task_id="wait", export_id="{{ params.id }}")
    sensor.export_id = value  # as rendered

    with pytest.raises(AirflowFailException, match="export_id is"):
        sensor.execute({})
    assert flowroute.requests == []


def test_integer_export_id_of_native_rendering_is_accepted(export_id):
    assert wait(int(export_id))["id"] == export_id


@pytest.mark.flowroute(processing_seconds=float("inf"))
def test_poke_mode_times_out_with_airflow_sensor_timeout(flowroute):
    export_id = CreateCdrExportOperator(task_id="create", **SAMPLE).execute({})

    with pytest.raises(AirflowSensorTimeout):
        wait(export_id, timeout=0.1)


@pytest.mark.flowroute(processing_seconds=float("inf"), quick_deferral=False)
def test_deferrable_sensor_pokes_once_before_it_defers(flowroute):
    export_id = CreateCdrExportOperator(task_id="create", **SAMPLE).execute({})

    with pytest.raises(TaskDeferred) as deferred:
        wait(export_id, deferrable=True, poke_interval=60, timeout=3600)

    assert flowroute.exports[0].reads == 1
    trigger = deferred.value.trigger
    assert (trigger.export_id, trigger.flowroute_conn_id, trigger.poke_interval) == (
        export_id,
        "flowroute_default",
        60,
    )
    assert trigger.deadline - trigger.first_poll_at == pytest.approx(3540, abs=1)
    assert deferred.value.timeout.total_seconds() == pytest.approx(3600 + 600)


@pytest.mark.parametrize("soft", [{"soft_fail": True}, {"never_fail": True}])
def test_soft_fail_skips_at_the_first_poke_when_deferrable(flowroute, soft):
    with pytest.raises(AirflowSkipException, match="404"):
        wait("4711", deferrable=True, **soft)


def resume(event):
    return CdrExportSensor(task_id="wait", export_id="1").execute_complete({}, event)


def test_trigger_timeout_raises_airflow_sensor_timeout():
    with pytest.raises(AirflowSensorTimeout, match="Too late"):
        resume({"status": "timeout", "export_id": "1", "message": "Too late."})


@pytest.mark.parametrize("status", ["failed", "error", "unheard-of"])
def test_failed_event_fails_without_retries(status):
    with pytest.raises(AirflowFailException, match="Bad"):
        resume({"status": status, "export_id": "1", "message": "Bad."})


@pytest.mark.parametrize("event", [None, "completed", {}, {"status": "completed"}])
def test_unusable_event_is_not_a_success(event):
    with pytest.raises(AirflowFailException, match="no usable event"):
        resume(event)


@pytest.mark.flowroute(processing_seconds=float("inf"))
def test_completed_event_is_verified_with_flowroute(flowroute):
    export_id = CreateCdrExportOperator(task_id="create", **SAMPLE).execute({})

    with pytest.raises(CdrExportNotCompletedError, match="status is processing"):
        resume({"status": "completed", "export_id": export_id, "message": ""})


@pytest.mark.flowroute(extra={"retries": 0})
def test_transient_error_after_the_trigger_uses_the_retries(flowroute, export_id):
    flowroute.add_fault("server_error", on="status", status=502)

    with pytest.raises(FlowrouteServerError):
        resume({"status": "completed", "export_id": export_id, "message": ""})


@pytest.mark.flowroute(processing_seconds=0.3)
def test_each_poke_logs_the_status_and_the_next_poke(export_id, caplog, capsys):
    caplog.set_level("INFO")

    wait(export_id)

    log = caplog.text + capsys.readouterr().out  # on Airflow 3, the logger of a task prints
    assert f"Export {export_id} is processing." in log
    assert "Next poke in 0.05 seconds." in log
