"""After a kill at any moment a reader of the table sees the complete old window or the complete new one."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from tests.airflow.recipes import blocks
from tests.docs.blocks import CHECKOUT
from tests.iceberg import a_catalog, catalog_properties, connection_to_catalog, data_files, needs_sql_catalog
from tests.support import wait_until

from .conftest import ROWS

pytestmark = needs_sql_catalog

OLD_ROWS = 3
TABLE = {"table": "telephony.cdrs", "iceberg_conn_id": "lake"}


@pytest.fixture
def rows_of_table(a_source, lander, tmp_path, monkeypatch):
    """The number of rows of a table with an old landing, as a reader counts them."""
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", connection_to_catalog(tmp_path))
    a_source(OLD_ROWS)
    assert lander.land(**TABLE) == "landed"
    catalog = a_catalog(tmp_path)

    def count() -> int:
        return len(catalog.load_table("telephony.cdrs").scan().to_arrow())

    return count


def test_a_kill_in_a_download_leaves_the_old_window(a_source, lander, rows_of_table):
    account = a_source(150_000, hold=True)

    child = lander.start(**TABLE)
    wait_until(account.held.is_set)
    os.kill(child, signal.SIGKILL)

    assert lander.outcome() == ""
    assert rows_of_table() == OLD_ROWS
    account.hold.set()
    assert lander.land(**TABLE) == "landed"
    assert rows_of_table() == 150_000


def remove_orphans(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the code of docs/iceberg.md."""
    from pyiceberg import catalog
    from pyiceberg.utils.config import Config

    for name, value in catalog_properties(directory).items():
        monkeypatch.setenv(f"PYICEBERG_CATALOG__LAKE__{name.upper()}", value)
    monkeypatch.setattr(catalog, "_ENV_CONFIG", Config())  # pyiceberg reads it at import
    [code] = [
        block for block in blocks("python", page=CHECKOUT / "docs" / "iceberg.md") if "FileSelector" in block
    ]
    exec(code, {})


def test_a_kill_before_the_commit_leaves_the_old_window(
    a_source, lander, rows_of_table, tmp_path, monkeypatch
):
    """The documented code then removes the files that no snapshot refers to, once they are old."""
    account = a_source(hold=True)
    old_files = data_files(tmp_path / "warehouse")

    child = lander.start(**TABLE)
    wait_until(account.held.is_set)
    # The commit waits for this lock, after it has written its metadata.
    with contextlib.closing(sqlite3.connect(tmp_path / "catalog.db", isolation_level=None)) as database:
        metadata = set(tmp_path.rglob("*.metadata.json"))
        database.execute("BEGIN IMMEDIATE")
        account.hold.set()
        wait_until(lambda: set(tmp_path.rglob("*.metadata.json")) > metadata, interval=0.001)
        os.kill(child, signal.SIGKILL)
        assert lander.outcome() == ""

    assert rows_of_table() == OLD_ROWS
    [orphan] = data_files(tmp_path / "warehouse") - old_files
    assert orphan.startswith("2019-06-25-flowroute-1-")
    assert lander.land(**TABLE) == "landed"
    assert rows_of_table() == ROWS
    files = data_files(tmp_path)
    remove_orphans(tmp_path, monkeypatch)
    assert data_files(tmp_path) == files
    for path in tmp_path.rglob("*.parquet"):
        os.utime(path, (0, 0))
    remove_orphans(tmp_path, monkeypatch)
    assert data_files(tmp_path) == files - {orphan}
    assert rows_of_table() == ROWS


def test_a_kill_at_any_moment_leaves_the_old_or_the_new_window(a_source, lander, rows_of_table):
    a_source()
    started = time.monotonic()
    assert lander.land(**TABLE) == "landed"
    took = time.monotonic() - started
    outcomes = set()

    for part in range(15):
        old, new = rows_of_table(), ROWS + 1 + part
        a_source(new)
        child = lander.start(**TABLE)
        time.sleep(took * part / 12)  # the moment of the kill, not a wait
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        outcome = lander.outcome()
        rows = rows_of_table()
        assert rows in (old, new)
        assert outcome != "landed" or rows == new
        outcomes.add(rows == old)

    assert True in outcomes
    assert lander.land(**TABLE) == "landed"
    assert rows_of_table() == new


def test_a_full_disk_leaves_the_old_window_and_no_file(a_source, lander, rows_of_table, tmp_path):
    a_source()
    files = data_files(tmp_path)

    outcome = lander.land(**TABLE, limit=4096)

    assert outcome.startswith("CdrExportLandingError: Export 1 cannot be written to telephony.cdrs.")
    assert "File too large" in outcome
    assert rows_of_table() == OLD_ROWS
    assert data_files(tmp_path) == files


def test_two_landings_of_a_window_at_once_leave_each_call_once(a_source, lander, rows_of_table):
    """One of them can fail, and its retry lands the window."""
    account = a_source(hold=True)
    lander.start(**TABLE)
    wait_until(account.held.is_set)
    # The other landing, in this process, commits while the first one downloads.
    from airflow_provider_flowroute.transfers.cdr_export_to_iceberg import CdrExportToIcebergOperator

    a_source(5)
    CdrExportToIcebergOperator(task_id="land", export_id="1", **TABLE).execute({})
    account.hold.set()

    outcome = lander.outcome()

    assert outcome.startswith("CdrExportLandingError: Export 1 cannot be written to telephony.cdrs.")
    assert "Another writer changed the table at the same time." in outcome
    assert rows_of_table() == 5
