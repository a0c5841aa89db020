"""Measure the report of a year with 10,000,000 calls.

Run with ``python benchmarks/report.py``. The day files are written once, to ``.bench/report-ROWS``: each holds a random
choice of generated calls, with start times on its day.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from generate import DAYS, START, make

from airflow_provider_flowroute.cdr.export import CdrExport
from airflow_provider_flowroute.landing.arrow import CdrParquetWriter
from airflow_provider_flowroute.landing.pipeline import stage

FIRST_DAY = datetime(2025, 1, 1, tzinfo=UTC)
YEAR = 365
#: Generated calls to choose from. The simulator and the generator are too slow for 10 million.
BLOCK_ROWS = 100_000


class _Download(io.BytesIO):
    """A download whose bytes are already here."""

    position = 0
    total = None


def write_year(folder: Path, rows: int) -> None:
    """Write a landed file for each day, unless the folder exists.

    :param folder: of the day files.
    :param rows: number of calls in the year.
    """
    if folder.exists():
        return
    block = folder.parent / "report-block.parquet"
    _land_block(block)
    table = pq.read_table(block)
    metadata = {
        key.decode(): value.decode()
        for key, value in pq.read_metadata(block).metadata.items()
        if key.startswith(b"flowroute.")
    }
    since = table.column("start_time").cast(pa.int64()).to_numpy() - int(START.timestamp() * 1e6)
    part = folder.with_name(f"{folder.name}.part")
    dice = np.random.default_rng(1)
    for number in range(YEAR):
        day = FIRST_DAY + timedelta(days=number)
        count = rows // YEAR + (number < rows % YEAR)
        chosen = np.sort(dice.integers(len(table), size=count))
        starts = int(day.timestamp() * 1e6) + since[chosen] // DAYS
        calls = table.take(pa.array(chosen))
        column = pa.array(starts, pa.timestamp("us", "UTC"))
        calls = calls.set_column(calls.column_names.index("start_time"), "start_time", column)
        path = part / f"date={day:%Y-%m-%d}" / "cdrs.parquet"
        path.parent.mkdir(parents=True)
        writer = CdrParquetWriter(path, calls.column_names)
        writer.write(calls)
        window = {"start": day, "end": day + timedelta(days=1)}
        writer.close(
            metadata | {f"flowroute.window_{end}": value.isoformat() for end, value in window.items()}
        )
    part.rename(folder)


def _land_block(path: Path) -> None:
    packed = path.with_name("report-block.csv.gz")
    made = make(packed, BLOCK_ROWS)
    window = {
        "start_call_start_time": START.isoformat(),
        "start_call_end_time": (START + timedelta(days=DAYS)).isoformat(),
    }
    attributes = {
        "status": "completed",
        "num_calls": made.rows,
        "total_cost": made.total_cost,
        "filter_parameters": window,
    }
    export = CdrExport.from_resource({"id": "1", "attributes": attributes})
    download: Any = _Download(packed.read_bytes())
    stage(export, download, path, "parquet")


def measure(folder: Path, rows: int) -> dict[str, Any]:
    """Write the report in a process of its own.

    :return: seconds, MiB of memory at the peak, and the size of the report.
    """
    output = folder.with_suffix(".html")
    command = [sys.executable, "-m", "airflow_provider_flowroute.report", str(folder), "-o", str(output)]
    start = time.monotonic()
    subprocess.run([*command, "--timezone", "America/Los_Angeles"], check=True)
    return {
        "rows": rows,
        "seconds": round(time.monotonic() - start, 1),
        "peak_mib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10,
        "report_bytes": output.stat().st_size,
    }


def main() -> None:
    """Write the files and the report, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--directory", type=Path, default=Path(__file__).parents[1] / ".bench")
    arguments = parser.parse_args()
    folder = arguments.directory / f"report-{arguments.rows}"
    write_year(folder, arguments.rows)
    print(json.dumps(measure(folder, arguments.rows)))


if __name__ == "__main__":
    main()
