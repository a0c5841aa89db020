"""Measure the check of a year: 366 day files in an S3 server on this machine.

python benchmarks/completeness.py
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import date, timedelta
from pathlib import Path

FIRST, DAYS, ROUNDS = date(2024, 1, 1), 366, 3
WINDOW_DAYS = 61


def main() -> None:
    """Land a year, upload it, and print the time of each check."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.environ |= {"AIRFLOW_HOME": str(home / "airflow"), "NO_PROXY": "127.0.0.1"}
        logging.disable(logging.WARNING)
        land(home / "lake", stack)
        check(start_s3(stack), home / "lake")


def land(lake: Path, stack: ExitStack) -> None:
    """Land the day files of a year on the disk."""
    from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator
    from airflow_provider_flowroute.simulator import FlowrouteSimulator
    from airflow_provider_flowroute.transfers.cdr_export_to_object_storage import (
        CdrExportToObjectStorageOperator,
    )

    account = stack.enter_context(FlowrouteSimulator(calls_per_day=50))
    os.environ["AIRFLOW_CONN_FLOWROUTE_DEFAULT"] = account.connection_json
    for number in range(0, DAYS, WINDOW_DAYS):
        start, end = (FIRST + timedelta(days=days) for days in (number, number + WINDOW_DAYS))
        create = CreateCdrExportOperator(
            task_id="create", start_call_start_time=str(start), start_call_end_time=str(end)
        )
        CdrExportToObjectStorageOperator(
            task_id="land",
            export_id=create.execute({}),
            path=f"{lake}/{{date}}.parquet",
            partition_by="day",
        ).execute({})


def start_s3(stack: ExitStack) -> int:
    """Start Moto in a process of its own, and return its port."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    stack.callback(server.wait)
    stack.callback(server.terminate)
    assert server.stdout is not None
    return int(server.stdout.readline())


SERVER = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


def check(port: int, lake: Path) -> None:
    """Upload the files, and check the year several times."""
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    from airflow_provider_flowroute.operators.cdr_completeness import CdrCompletenessCheckOperator

    extra = {"endpoint_url": f"http://127.0.0.1:{port}", "region_name": "us-east-1"}
    os.environ["AIRFLOW_CONN_S3"] = json.dumps(
        {"conn_type": "aws", "login": "k", "password": "s", "extra": extra}
    )
    file_system = ObjectStoragePath("s3://s3@lake/").fs
    file_system.mkdir("lake")
    files = sorted(lake.glob("*.parquet"))
    file_system.put([str(file) for file in files], [f"lake/{file.name}" for file in files])
    print(f"{len(files)} files, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for path in ("s3://s3@lake/{date}.parquet", "s3://s3@lake/*.parquet"):
        for _ in range(ROUNDS):
            started, cpu = time.perf_counter(), time.process_time()
            CdrCompletenessCheckOperator(
                task_id="check", path=path, start=str(FIRST), end=str(FIRST + timedelta(days=DAYS))
            ).execute({})
            wall, cpu = time.perf_counter() - started, time.process_time() - cpu
            print(f"{path}: {wall:.1f} s, of which {cpu:.1f} s of CPU time in this process")


if __name__ == "__main__":
    main()
