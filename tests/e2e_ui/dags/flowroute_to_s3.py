"""Land a day in a memory file system that Airflow uses as Amazon S3, to test the link."""

from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import DAG
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator
from airflow_provider_flowroute.sensors.cdr_export import CdrExportSensor
from airflow_provider_flowroute.transfers.cdr_export_to_object_storage import CdrExportToObjectStorageOperator

try:
    from airflow.sdk.io import attach
except ImportError:  # Airflow 2
    from airflow.io.store import attach  # type: ignore[import-not-found,no-redef]

attach("s3", "aws_default", fs=MemoryFileSystem())

with DAG(
    "flowroute_to_s3",
    schedule=None,
    start_date=datetime(2019, 1, 1, tzinfo=UTC),
    default_args={"flowroute_conn_id": "flowroute_for_s3"},
):
    create = CreateCdrExportOperator(
        task_id="create",
        start_call_start_time="2019-06-25",
        start_call_end_time="{{ '2019-06-26' }}",
        filter_parameters={"direction": "inbound"},
    )
    wait = CdrExportSensor(task_id="wait", export_id=create.output, poke_interval=1)
    land = CdrExportToObjectStorageOperator(
        task_id="land", export_id=create.output, path="s3://aws_default@my-lake/cdrs/2019-06-25.csv"
    )
    wait >> land
