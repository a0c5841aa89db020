"""The compared ways from a served file to Parquet. Each runs in a process of its own."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from queue import Queue
from typing import Any

import requests
from iceberg_table import iceberg, iceberg_unchanged

from airflow_provider_flowroute.api.client import FlowrouteClient
from airflow_provider_flowroute.cdr.columns import COLUMNS, MONEY, SECONDS, TIMES
from airflow_provider_flowroute.landing.csv_stream import CsvStream
from airflow_provider_flowroute.landing.partitions import days_of, stage_days
from airflow_provider_flowroute.landing.pipeline import stage

#: A contender returns its work. Everything is imported before the work starts.
_Work = Callable[[], None]


def landing(url: str, export_id: str, out: Path, file_format: str) -> _Work:
    """Land the file with this package, with its reconciliation."""
    client = FlowrouteClient("key", "secret", url)

    def work() -> None:
        export = client.get_cdr_export(export_id)
        with client.open_cdr_export(export) as download:
            result = stage(export, download, out, file_format)
        assert not result.mismatches, result.mismatches

    return work


def day_files(url: str, export_id: str, out: Path) -> _Work:
    """Land the file with this package as one file for each day."""
    client = FlowrouteClient("key", "secret", url)
    (folder := out.with_suffix("")).mkdir(exist_ok=True)

    def work() -> None:
        export = client.get_cdr_export(export_id)
        with client.open_cdr_export(export) as download:
            result, files = stage_days(export, download, folder, days_of(export, "UTC"))
        assert not result.mismatches, result.mismatches
        assert sum(file.totals.rows for file in files) == export.num_calls
        for file in files:
            file.path.rename(folder / f"{file.day}.parquet")

    return work


def if_changed(url: str, export_id: str, out: Path, *, compares: bool) -> _Work:
    """Compare landed day files with the figures of their export, or with its rows.

    :param compares: whether the figures differ, so that the file is downloaded and each row is compared.
    """
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    from airflow_provider_flowroute.landing import targets
    from airflow_provider_flowroute.landing.reconciliation import differing_figures

    client = FlowrouteClient("key", "secret", url)
    # In another process, so that its memory is not in the figures.
    subprocess.run(
        [sys.executable, __file__, "day files", url, export_id, str(out)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    (new := out.with_suffix(".new")).mkdir(exist_ok=True)
    pattern = ObjectStoragePath(f"{out.with_suffix('')}/{{date}}.parquet")

    def work() -> None:
        export = client.get_cdr_export(export_id)
        landed = targets.targets_of(export, pattern, "UTC")
        targets.read_footers(landed)
        totals = targets.landed_totals(landed)
        assert totals is not None
        assert not differing_figures(export, totals)
        if compares:
            with client.open_cdr_export(export) as download:
                _, files = stage_days(export, download, new, days_of(export, "UTC"))
            staged = [
                targets.Staged(target, file.path, file.totals)
                for target, file in zip(landed, files, strict=True)
            ]
            assert targets.select_changed(staged)[1] == []

    return work


def file_url(url: str, export_id: str) -> str:
    """Return the URL of the file itself."""
    return f"{url}/{export_id.replace('-', '/')}"


def download(url: str, export_id: str, out: Path) -> _Work:
    """Download the bytes to a file."""

    def work() -> None:
        with (
            requests.get(file_url(url, export_id), stream=True, timeout=60) as response,
            out.open("wb") as file,
        ):
            shutil.copyfileobj(response.raw, file, 1 << 20)

    return work


def inflating(url: str, export_id: str, out: Path) -> _Work:
    """Inflate the stream and discard the result."""
    from isal import igzip

    def work() -> None:
        with requests.get(file_url(url, export_id), stream=True, timeout=60) as response:
            raw: Any = response.raw
            raw.auto_close = False  # otherwise urllib3 closes it at the end, before the reader has asked
            file = igzip.GzipFile(fileobj=io.BufferedReader(raw, 1 << 17))
            while file.read(2 << 20):
                pass

    return work


def _writing(out: Path, tables: Iterator[Any]) -> None:
    """Write tables to Parquet in a thread of its own."""
    from airflow_provider_flowroute.landing.arrow import CdrParquetWriter

    waiting: Queue[Any] = Queue(4)
    file = CdrParquetWriter(out, COLUMNS)

    def write() -> None:
        while (table := waiting.get()) is not None:
            file.write(table)
        file.close()

    thread = threading.Thread(target=write)
    thread.start()
    for table in tables:
        waiting.put(table)
    waiting.put(None)
    thread.join()


def _inflated(url: str, export_id: str) -> bytes:
    with requests.get(file_url(url, export_id), stream=True, timeout=60) as response:
        raw: Any = response.raw
        raw.auto_close = False
        return CsvStream(raw).read()


def parse_and_write(url: str, export_id: str, out: Path) -> _Work:
    """Convert inflated bytes in memory to Parquet with pyarrow: the minimum of any landing."""
    import pyarrow as pa
    import pyarrow.csv

    from airflow_provider_flowroute.landing.arrow import type_of

    content = _inflated(url, export_id)

    def work() -> None:
        reader = pyarrow.csv.open_csv(
            pa.BufferReader(content),
            read_options=pyarrow.csv.ReadOptions(block_size=2 << 20),
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types={name: type_of(name) for name in COLUMNS},
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
        _writing(out, (pa.Table.from_batches([batch]) for batch in reader))

    return work


def _typed(column: str, text: str) -> Any:
    if not text:
        return None
    if column in TIMES:
        return datetime.fromisoformat(text)
    return Decimal(text) if column in MONEY else int(text) if column in SECONDS else text


def sdk(url: str, export_id: str, out: Path) -> _Work:
    """Read the file as Flowroute's SDK does: all in memory, a dict for each row. Then write it with pyarrow."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from airflow_provider_flowroute.landing.arrow import type_of

    def work() -> None:
        content = requests.get(file_url(url, export_id), timeout=60).content
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed, io.TextIOWrapper(packed, "utf-8") as text:
            rows = list(csv.DictReader(text))
        schema = pa.schema([(name, type_of(name)) for name in COLUMNS])
        typed = {name: [_typed(name, row[name]) for row in rows] for name in COLUMNS}
        pq.write_table(pa.table(typed, schema=schema), out, compression="zstd")

    return work


def pandas_chunks(url: str, export_id: str, out: Path) -> _Work:
    """Download to disk, then read with pandas in chunks."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    from airflow_provider_flowroute.landing.arrow import type_of

    fetch = download(url, export_id, out.with_suffix(".gz"))
    schema = pa.schema([(name, type_of(name)) for name in COLUMNS])

    def work() -> None:
        fetch()
        chunks = pd.read_csv(
            out.with_suffix(".gz"),
            compression="gzip",
            dtype={name: "Int32" if name in SECONDS else "string" for name in COLUMNS},
            keep_default_na=False,
            na_values=[""],
            chunksize=100_000,
        )
        with pq.ParquetWriter(out, schema, compression="zstd") as writer:
            for chunk in chunks:
                for name in TIMES:
                    chunk[name] = pd.to_datetime(chunk[name], utc=True, format="%Y-%m-%d %H:%M:%S+00")
                for name in MONEY:
                    chunk[name] = pd.array(chunk[name].array, dtype=pd.ArrowDtype(type_of(name)))
                writer.write_table(pa.Table.from_pandas(chunk, schema=schema, preserve_index=False))

    return work


def polars(url: str, export_id: str, out: Path) -> _Work:
    """Download to disk, then stream with polars."""
    import polars as pl

    fetch = download(url, export_id, out.with_suffix(".gz"))

    def work() -> None:
        fetch()
        types: dict[str, Any] = {name: pl.Int32 if name in SECONDS else pl.String for name in COLUMNS}
        frame = pl.scan_csv(out.with_suffix(".gz"), schema=types)
        frame.with_columns(
            *(pl.col(name).str.strptime(pl.Datetime("us", "UTC"), "%Y-%m-%d %H:%M:%S%#z") for name in TIMES),
            *(pl.col(name).cast(pl.Decimal(18, 8)) for name in MONEY),
        ).sink_parquet(out, compression="zstd")

    return work


CONTENDERS: dict[str, Callable[[str, str, Path], _Work]] = {
    "parquet": lambda url, export_id, out: landing(url, export_id, out, "parquet"),
    "csv.gz": lambda url, export_id, out: landing(url, export_id, out, "csv.gz"),
    "day files": day_files,
    "unchanged": partial(if_changed, compares=False),
    "changed": partial(if_changed, compares=True),
    "iceberg": iceberg,
    "iceberg, unchanged": iceberg_unchanged,
    "download": download,
    "inflate": inflating,
    "open_csv + write": parse_and_write,
    "SDK": sdk,
    "pandas": pandas_chunks,
    "polars": polars,
}


def _memory(name: str) -> float:
    """Return a value of this process's status, in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith(name))) / 1024


def main(name: str, url: str, export_id: str, out: str) -> None:
    """Run one contender. Print its wall and CPU seconds, and its peak memory over that of the idle process."""
    work = CONTENDERS[name](url, export_id, Path(out))
    idle = _memory("VmRSS")
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(json.dumps({"wall": wall, "cpu": cpu, "rss": _memory("VmHWM") - idle}))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
