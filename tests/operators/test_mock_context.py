"""``execute({"ti": MagicMock()})``, the usual call in unit tests of DAGs, works for every operator."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator
from airflow_provider_flowroute.sensors.cdr_export import CdrExportSensor
from airflow_provider_flowroute.simulator import FlowrouteSimulator
from airflow_provider_flowroute.transfers.cdr_export_to_object_storage import CdrExportToObjectStorageOperator

SAMPLE = {"start_call_start_time": "2019-06-25", "start_call_end_time": "2019-06-26"}


@pytest.fixture
def export_id(flowroute: FlowrouteSimulator) -> str:
    return CreateCdrExportOperator(task_id="create", **SAMPLE).execute({"ti": MagicMock()})


@pytest.mark.parametrize("wait", [{}, {"wait_for_completion": True}], ids=["create", "create and wait"])
def test_create_operator_accepts_a_mock_task_instance(flowroute: FlowrouteSimulator, wait: dict[str, Any]):
    export_id = CreateCdrExportOperator(task_id="create", **SAMPLE, **wait).execute({"ti": MagicMock()})

    assert [export.id for export in flowroute.exports] == [export_id]


@pytest.mark.parametrize("deferrable", [False, True])
def test_sensor_accepts_a_mock_task_instance(export_id: str, deferrable: bool):
    sensor: Any = CdrExportSensor(task_id="wait", export_id=export_id, deferrable=deferrable)

    assert sensor.execute({"ti": MagicMock()})["num_calls"] == 3
    assert sensor.poke({"ti": MagicMock()}).xcom_value["num_calls"] == 3


def test_transfer_operator_accepts_a_mock_task_instance(export_id: str, tmp_path: Path):
    operator = CdrExportToObjectStorageOperator(
        task_id="land", export_id=export_id, path=f"{tmp_path}/day.csv"
    )

    assert operator.execute({"ti": MagicMock()})["rows"] == 3
