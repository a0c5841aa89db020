"""The command and the function: where they read and write, and their errors."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from click.testing import CliRunner

from airflow_provider_flowroute.report import ReportData, write_report
from airflow_provider_flowroute.report.cli import main

from .conftest import Lake
from .lake import DAY, call_at, land, utc

JULY = date(2026, 7, 1)
START = utc(JULY)


@pytest.fixture
def landed(tmp_path: Path) -> Path:
    """A landed file of one day."""
    path = tmp_path / "lake" / "cdrs.parquet"
    land(path, [call_at(START, total_cost="1234.5")], START, START + DAY)
    return path


def error_of(*arguments: Any) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 1, result.output
    return result.output


def test_command_writes_the_report_and_its_figures(landed: Path, tmp_path: Path):
    output = tmp_path / "reports" / "july.html"
    command = [
        sys.executable,
        "-m",
        "airflow_provider_flowroute.report",
        str(landed.parent),
        "-o",
        str(output),
    ]

    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert done.stdout.splitlines() == [
        "2026-07-01 to 2026-07-02, UTC. Calls: 1. Cost: 1,234.50000000 USD.",
        "Landed and reconciled: 1 of 1 day.",
        f"Wrote {output}.",
    ]
    assert output.read_text().startswith("<!DOCTYPE html>")


def test_local_report_does_not_import_airflow(landed: Path, tmp_path: Path):
    code = (
        "import sys; from airflow_provider_flowroute.report import write_report; "
        f"write_report({str(landed)!r}, {str(tmp_path / 'a.html')!r}); "
        "print([name for name in sys.modules if name.split('.')[0] == 'airflow'])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


@pytest.mark.parametrize("kind", [str, Path, ObjectStoragePath])
def test_paths_can_be_text_paths_and_object_storage_paths(landed: Path, tmp_path: Path, kind: Any):
    before, output = tmp_path / "before.html", tmp_path / "now.html"
    write_report([landed], before)

    data = write_report([kind(landed)], kind(output), previous=kind(before))

    assert isinstance(data, ReportData)
    assert (data.totals.calls, data.incomplete_days) == (1, [])
    assert "No day of both reports has other figures now." in output.read_text()


def test_urls_are_read_and_written(landed: Path, tmp_path: Path):
    url = f"file://{tmp_path}"

    data = write_report(f"{url}/lake/*.parquet", f"{url}/report.html")

    assert data.totals.calls == 1
    assert (tmp_path / "report.html").exists()


def test_operator_passes_local_midnights(landed: Path, tmp_path: Path):
    midnight = datetime(2026, 6, 30, 22, tzinfo=UTC)

    data = write_report(landed, tmp_path / "a.html", midnight, midnight + DAY, "Europe/Berlin")

    assert (data.start, data.end) == (JULY, JULY + DAY)


def test_failed_report_leaves_the_earlier_one_unchanged(landed: Path, tmp_path: Path):
    output = tmp_path / "report.html"
    write_report(landed, output)
    before = output.read_bytes()
    landed.write_bytes(b"broken")

    error_of(landed, "-o", output)

    assert output.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["lake", "report.html"]


@pytest.mark.parametrize("path", ["nothing.parquet", "nothing", "*.parquet", "empty"])
def test_path_without_files_is_an_error(tmp_path: Path, path: str):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").touch()

    message = error_of(tmp_path / path)

    assert f"Error: There is no landed file at '{path}'." in message
    assert f"The path is {tmp_path / path}." in message


def test_file_that_is_no_parquet_is_an_error(tmp_path: Path):
    path = tmp_path / "cdrs.csv"
    path.write_text("direction,start_time\n")

    message = error_of(path)

    assert "Error: cdrs.csv is not a Parquet file that can be read." in message
    assert "Parquet magic bytes not found" in message


def test_file_without_the_columns_is_an_error(landed: Path):
    table = pq.read_table(landed).drop_columns(["usf_fee"])
    index = table.column_names.index("total_cost")
    table = table.set_column(index, "total_cost", table.column("total_cost").cast(pa.float64()))
    pq.write_table(table, landed)

    message = error_of(landed)

    assert "Error: cdrs.parquet lacks columns of a landed file." in message
    assert "missing or have another type: total_cost, usf_fee." in message


def test_file_without_a_window_needs_a_period(landed: Path, tmp_path: Path):
    pq.write_table(pq.read_table(landed).replace_schema_metadata(None), landed)

    assert "The files do not say which days they hold." in error_of(landed)

    data = write_report(landed, tmp_path / "a.html", JULY, JULY + DAY)
    assert (data.totals.calls, data.days[0].state.value) == (1, "missing")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--from", "2026-07-02", "--to", "2026-07-01"],
            "it starts on 2026-07-02 and ends before 2026-07-01",
        ),
        (
            ["--from", "2026-07-02", "--to", "2026-07-02"],
            "it starts on 2026-07-02 and ends before 2026-07-02",
        ),
        (["--from", "2026-07-03"], "it starts on 2026-07-03 and ends before 2026-07-02"),
        (["--from", "1.7.2026"], "start is not a day.\nIt is '1.7.2026'"),
        (["--to", "2026-07-02 00:00:00+02:00"], "end is not a day"),
        (["--timezone", "Mars/Olympus"], "timezone is 'Mars/Olympus'."),
        (["--timezone", "../etc/passwd"], "The tz database has no such time zone."),
        (["--timezone", "America"], "The tz database has no such time zone."),
        (
            ["-o", "nothing://bucket/report.html"],
            "There is no file system for 'nothing://bucket/report.html'.",
        ),
    ],
)
def test_wrong_options_are_errors(landed: Path, options: list[str], message: str):
    assert message in error_of(landed, *options)


def test_path_is_required():
    result = CliRunner().invoke(main, [])

    assert result.exit_code == 2
    assert "Missing argument 'PATH...'" in result.output


def test_help_names_every_option():
    output = CliRunner().invoke(main, ["--help"]).output

    assert re.findall(r"^  (?:-o, )?(--\w+)", output, re.MULTILINE) == [
        "--from",
        "--to",
        "--timezone",
        "--output",
        "--previous",
        "--help",
    ]


def test_first_line_of_each_error_is_short(landed: Path):
    for arguments in (["nothing"], [landed, "--timezone", "Mars/Olympus"], [landed, "--from", "2026-07-03"]):
        first = error_of(*arguments).splitlines()[0].removeprefix("Error: ")
        assert len(first) <= 80, first


def test_figures_in_the_page_are_json_with_exact_amounts(march: Lake, tmp_path: Path):
    data = write_report(march.path, tmp_path / "a.html")

    [text] = re.findall(r'id="flowroute-report-data">(.*?)</script>', (tmp_path / "a.html").read_text())
    assert json.loads(text) == data.as_json()
    assert json.loads(text)["totals"][1] == f"{data.totals.cost:f}"
