"""One export lands as one file for each day: complete days, reconciled as a whole, each file atomic."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import fsspec
import pyarrow.parquet as pq
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_flowroute.cdr.window import Window
from airflow_provider_flowroute.exceptions import CdrExportMismatchError
from airflow_provider_flowroute.landing.footer import Footer, read_footer
from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator
from airflow_provider_flowroute.transfers.cdr_export_to_object_storage import CdrExportToObjectStorageOperator
from tests.support import connection_json, wait_until

from .calls import CallAccount, a_call, serving_calls

try:
    from airflow.sdk.io import attach
except ImportError:  # Airflow 2
    from airflow.io.store import attach

START = datetime(2026, 11, 1, tzinfo=UTC)
LAYOUT = "date={date}/cdrs.parquet"


def on(day: int, hour: int = 12) -> datetime:
    return datetime(2026, 11, day, hour, tzinfo=UTC)


@pytest.fixture
def account(monkeypatch) -> Iterator[CallAccount]:
    """Three days of calls, newest first; the second day has none."""
    calls = [a_call(f"id-{day}-{hour}", on(day, hour)) for day in (3, 1) for hour in (23, 12, 0)]
    with serving_calls(START, START + timedelta(days=3), calls) as account:
        monkeypatch.setenv("AIRFLOW_CONN_FLOWROUTE_DEFAULT", connection_json(account.url))
        yield account


def land(path: Any, **options: Any) -> dict[str, Any]:
    options = {"export_id": "1", "partition_by": "day", **options}
    task = CdrExportToObjectStorageOperator(task_id="land", path=path, **options)
    return dict(task.execute({}))


def files_of(folder: Path) -> dict[str, list[str]]:
    """The IDs in each file below a folder, by its path."""
    return {
        str(path.relative_to(folder)): pq.read_table(path).column("cdr_id").to_pylist()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def footer_of(path: Path) -> Footer:
    footer = read_footer(ObjectStoragePath(f"file://{path}"))
    assert footer is not None
    return footer


def test_an_export_lands_as_one_file_for_each_day(account, tmp_path):
    landed = land(f"{tmp_path}/{LAYOUT}")

    assert files_of(tmp_path) == {
        "date=2026-11-01/cdrs.parquet": ["id-1-23", "id-1-12", "id-1-0"],
        "date=2026-11-02/cdrs.parquet": [],
        "date=2026-11-03/cdrs.parquet": ["id-3-23", "id-3-12", "id-3-0"],
    }
    sizes = sum(path.stat().st_size for path in tmp_path.rglob("*.parquet"))
    assert {
        name: landed[name] for name in ("rows", "path", "files", "files_published", "bytes", "export_id")
    } == {
        "rows": 6,
        "path": f"{tmp_path}/{LAYOUT}",
        "files": 3,
        "files_published": 3,
        "bytes": sizes,
        "export_id": "1",
    }
    assert [check["passed"] for check in landed["reconciliation"].values()] == [True] * 4
    assert len(json.dumps(landed)) < 2000


def test_the_layout_is_that_of_one_export_for_each_day(flowroute, tmp_path):
    """A backfill and the daily DAG write the same files."""
    for day in (1, 2, 3):
        window = {
            "start_call_start_time": f"2026-11-{day:02d}",
            "start_call_end_time": f"2026-11-{day + 1:02d}",
        }
        export_id = CreateCdrExportOperator(task_id="create", **window).execute({})
        path = f"{tmp_path}/daily/date=2026-11-{day:02d}/cdrs.parquet"
        CdrExportToObjectStorageOperator(task_id="land", export_id=export_id, path=path).execute({})
    window = {"start_call_start_time": "2026-11-01", "start_call_end_time": "2026-11-04"}

    land(
        f"{tmp_path}/backfill/{LAYOUT}",
        export_id=CreateCdrExportOperator(task_id="create", **window).execute({}),
    )

    daily = sorted((tmp_path / "daily").rglob("*.parquet"))
    backfill = sorted((tmp_path / "backfill").rglob("*.parquet"))
    assert [path.parent.name for path in backfill] == [path.parent.name for path in daily]
    for one, other in zip(daily, backfill, strict=True):
        assert pq.read_table(one).equals(pq.read_table(other))
        assert (footer_of(one).window, footer_of(one).totals) == (
            footer_of(other).window,
            footer_of(other).totals,
        )


@pytest.mark.parametrize(("day", "hours"), [("2026-03-08", 23), ("2026-11-01", 25)])
def test_a_day_of_a_zone_has_all_its_hours(account, tmp_path, day, hours):
    zone = ZoneInfo("America/New_York")
    account.start = datetime.fromisoformat(day).replace(tzinfo=zone)
    account.end = account.start + timedelta(days=2)
    first, second = account.start.astimezone(UTC), (account.start + timedelta(days=1)).astimezone(UTC)
    account.calls = [
        a_call("first", first),
        a_call("last", second - timedelta(seconds=1)),
        a_call("next", second),
    ]

    land(f"{tmp_path}/{LAYOUT}", timezone="America/New_York")

    assert list(files_of(tmp_path).values()) == [["first", "last"], ["next"]]
    window = footer_of(min(tmp_path.rglob("*.parquet"))).window
    assert window == Window(first, second)
    assert window.end - window.start == timedelta(hours=hours)


def test_a_window_of_incomplete_days_is_refused_before_the_download(account, tmp_path):
    account.end -= timedelta(hours=1)

    with pytest.raises(AirflowFailException, match=r"does not hold complete days in UTC"):
        land(f"{tmp_path}/{LAYOUT}")

    assert account.downloads == 0
    assert files_of(tmp_path) == {}


def test_a_mismatch_publishes_no_file(account, tmp_path):
    account.reported = {"num_calls": 7}

    with pytest.raises(CdrExportMismatchError, match="rows 6, expected 7"):
        land(f"{tmp_path}/{LAYOUT}")

    assert list(tmp_path.iterdir()) == []


def test_on_mismatch_warn_publishes_each_day_with_the_failed_check(account, tmp_path):
    account.reported = {"num_calls": 7}

    assert land(f"{tmp_path}/{LAYOUT}", on_mismatch="warn")["files"] == 3

    assert [footer_of(path).reconciled for path in sorted(tmp_path.rglob("*.parquet"))] == [False] * 3


def test_rows_of_no_day_are_an_error_and_never_lost(account, tmp_path):
    account.calls += [a_call("late", on(4, 0)), a_call("none", None)]

    with pytest.raises(
        CdrExportMismatchError, match="2 rows of the file did not start in the window"
    ) as caught:
        land(f"{tmp_path}/{LAYOUT}", on_mismatch="warn")

    assert "they belong to no day" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_overwrite_false_names_an_existing_day_and_downloads_nothing(account, tmp_path):
    (tmp_path / "date=2026-11-02").mkdir()
    (tmp_path / "date=2026-11-02" / "cdrs.parquet").write_bytes(b"old")

    with pytest.raises(AirflowFailException, match=r"date=2026-11-02/cdrs.parquet already exists"):
        land(f"{tmp_path}/{LAYOUT}", overwrite=False)

    assert account.downloads == 0


def test_a_file_of_another_zone_is_replaced_with_a_warning(account, tmp_path, caplog, capsys):
    land(f"{tmp_path}/{LAYOUT}")
    account.start = datetime(2026, 11, 1, tzinfo=ZoneInfo("Europe/Berlin"))
    account.end = account.start + timedelta(days=1)
    account.calls = []

    land(f"{tmp_path}/{LAYOUT}", timezone="Europe/Berlin")

    assert (
        "is replaced by the window 2026-10-31 23:00:00 .. 2026-11-01 23:00:00"
        in caplog.text + capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": "/lake/cdrs.parquet"}, r"path is '/lake/cdrs.parquet', without the placeholder \{date\}"),
        ({"path": f"/lake/{LAYOUT}", "partition_by": None}, "but partition_by is not set"),
        ({"path": "/lake/{date}.csv.gz"}, "partition_by is 'day', and file_format is 'csv.gz'"),
        ({"path": "/lake/{date}", "file_format": "csv"}, "partition_by is 'day', and file_format is 'csv'"),
        ({"path": f"/lake/{LAYOUT}", "timezone": "Mars/Phobos"}, "timezone is 'Mars/Phobos'"),
        (
            {"path": "/lake/day.parquet", "partition_by": None, "timezone": "Europe/Berlin"},
            "partition_by is not set",
        ),
        ({"path": f"/lake/{LAYOUT}", "partition_by": "hour"}, "partition_by is 'hour'"),
    ],
)
def test_options_that_do_not_go_together_are_refused_early(options, message):
    """When the DAG is parsed."""
    with pytest.raises(AirflowFailException, match=message):
        CdrExportToObjectStorageOperator(task_id="land", export_id="1", **{"partition_by": "day", **options})


@pytest.mark.parametrize("field", [{"timezone": "Mars/Phobos"}, {"path": "/lake/day.parquet"}])
def test_a_template_that_renders_to_a_wrong_option_is_refused(account, field):
    task = CdrExportToObjectStorageOperator(
        task_id="land", export_id="1", path="{{ x }}", timezone="{{ y }}", partition_by="day"
    )
    task.path, task.timezone = f"/lake/{LAYOUT}", "UTC"
    vars(task).update(field)

    with pytest.raises(AirflowFailException, match=r"timezone is|without the placeholder"):
        task.execute({})


def test_a_store_that_refuses_a_file_keeps_the_published_ones(account, mocker):
    """The message says how many. The retry completes the landing."""
    memory = fsspec.filesystem("memory")
    attach("memory", fs=memory)
    put = MemoryFileSystem.put_file

    def refuse_the_second(self: Any, source: str, target: str, **options: Any) -> Any:
        if "2026-11-02" in target:
            raise PermissionError("Access Denied")
        return put(self, source, target, **options)

    mocker.patch.object(MemoryFileSystem, "put_file", refuse_the_second)

    with pytest.raises(AirflowFailException, match="1 of 3 files are published") as caught:
        land(f"memory://days/{LAYOUT}")

    assert "Access Denied" in str(caught.value)
    assert list(memory.find("/days")) == ["/days/date=2026-11-01/cdrs.parquet"]
    mocker.stopall()
    assert land(f"memory://days/{LAYOUT}")["files"] == 3
    assert len(memory.find("/days")) == 3


def test_a_full_disk_publishes_no_file(account, lander, tmp_path):
    outcome = lander.land(path=f"{tmp_path}/{LAYOUT}", partition_by="day", limit=1024)

    assert outcome.startswith("CdrExportLandingError: Export 1 cannot be written to")
    assert "The target is unchanged" in outcome
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def replaced(account: CallAccount, tmp_path: Path) -> Callable[[], list[str]]:
    """Land 60 old days. Returns a function that says of each day whether its file is old or new."""
    account.end = account.start + timedelta(days=60)
    account.calls = [a_call(f"old-{day}", account.start + timedelta(days=day)) for day in range(60)]
    land(f"{tmp_path}/{LAYOUT}")
    account.calls = [a_call(f"new-{day}", account.start + timedelta(days=day)) for day in range(60)]

    def state() -> list[str]:
        return [
            pq.read_table(path).column("cdr_id").to_pylist()[0].partition("-")[0]
            for path in sorted(tmp_path.glob("date=*/cdrs.parquet"))
        ]

    return state


def test_a_kill_between_two_files_leaves_whole_files(account, lander, replaced, tmp_path):
    """Old or new. The retry completes the landing."""
    arguments = {"path": f"{tmp_path}/{LAYOUT}", "partition_by": "day"}
    first = tmp_path / "date=2026-11-01" / "cdrs.parquet"
    old = first.stat().st_ino

    child = lander.start(**arguments)
    wait_until(lambda: first.stat().st_ino != old, interval=0)
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    lander.outcome()

    states = replaced()
    assert states[0] == "new"
    assert len(states) == 60
    assert set(states) <= {"old", "new"}
    assert (
        list(tmp_path.glob(".*.part/*.parquet")) == []
    )  # a query of the lake finds none of the staged files
    assert lander.land(**arguments) == "landed"
    assert replaced() == ["new"] * 60
