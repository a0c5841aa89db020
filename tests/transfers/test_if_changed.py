"""With if_changed a landed window costs no download, and only the files whose rows differ are replaced."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath

from airflow_provider_flowroute.exceptions import CdrExportLandingError
from airflow_provider_flowroute.landing.arrow import rewrite_footer
from airflow_provider_flowroute.landing.footer import read_footer
from airflow_provider_flowroute.operators.cdr_export import CreateCdrExportOperator
from airflow_provider_flowroute.transfers.cdr_export_to_object_storage import CdrExportToObjectStorageOperator
from tests.support import connection_json

from .calls import CallAccount, a_call, serving_calls

START = datetime(2026, 11, 1, tzinfo=UTC)
DAYS = 3


@pytest.fixture
def account(monkeypatch) -> Iterator[CallAccount]:
    calls = [
        a_call(f"id-{day}-{hour}", START + timedelta(days=day, hours=hour))
        for day in range(DAYS)
        for hour in (0, 9)
    ]
    with serving_calls(START, START + timedelta(days=DAYS), calls) as account:
        monkeypatch.setenv("AIRFLOW_CONN_FLOWROUTE_DEFAULT", connection_json(account.url))
        yield account


@pytest.fixture(params=["day files", "one file"])
def layout(request, tmp_path) -> dict[str, Any]:
    """The arguments of both layouts."""
    if request.param == "one file":
        return {"path": f"{tmp_path}/cdrs.parquet"}
    return {"path": f"{tmp_path}/date={{date}}/cdrs.parquet", "partition_by": "day"}


def land(layout: dict[str, Any], **options: Any) -> dict[str, Any]:
    arguments = {"export_id": "1", "overwrite": "if_changed", **layout, **options}
    return dict(CdrExportToObjectStorageOperator(task_id="land", **arguments).execute({}))


def inodes(folder: Path) -> dict[str, int]:
    """A file that is published again is another file."""
    return {str(path.relative_to(folder)): path.stat().st_ino for path in sorted(folder.rglob("*.parquet"))}


def test_the_first_landing_is_a_change_without_a_difference(account, layout, tmp_path):
    landed = land(layout)

    assert (landed["changed"], landed["difference"], landed["rows"]) == (True, None, 6)
    assert len(inodes(tmp_path)) in (1, DAYS)


def test_an_unchanged_window_is_not_downloaded(account, layout, tmp_path):
    first = land(layout)
    files = inodes(tmp_path)

    second = land(layout, export_id="2")

    assert account.downloads == 1
    assert inodes(tmp_path) == files
    assert (second["changed"], second["difference"], second["export_id"]) == (False, None, "2")
    same = set(first) - {"changed", "difference", "export_id", "files_published"}
    assert {name: second[name] for name in same} == {name: first[name] for name in same}
    assert second.get("files_published", 0) == 0


def test_the_figures_of_a_real_account_are_recognized(flowroute, layout):
    """Rounded and reported as the API does, with all fees."""
    window = {"start_call_start_time": "2026-11-01", "start_call_end_time": "2026-11-04"}
    first, second = (CreateCdrExportOperator(task_id="create", **window).execute({}) for _ in range(2))

    assert land(layout, export_id=first)["changed"] is True
    assert land(layout, export_id=second)["changed"] is False

    assert [export.downloads for export in flowroute.exports].count(0) == 1


def test_a_late_call_replaces_only_its_day_and_is_named(account, layout, tmp_path, caplog, capsys):
    land(layout)
    files = inodes(tmp_path)
    account.calls.append(a_call("late", START + timedelta(days=1, hours=23)))
    caplog.clear()

    landed = land(layout, export_id="2")

    replaced = [name for name, inode in inodes(tmp_path).items() if inode != files[name]]
    assert replaced == [name for name in files if name in ("cdrs.parquet", "date=2026-11-02/cdrs.parquet")]
    assert landed["changed"] is True
    assert landed["difference"] == {
        "rows": 1,
        "total_cost": "0.01000000",
        "billed_minutes": "0.10",
        "new": 1,
        "gone": 0,
        "changed": 0,
        "cdr_ids": {"new": ["late"], "gone": [], "changed": []},
    }
    logged = caplog.text + capsys.readouterr().out
    assert "1 rows, 0.01000000 USD, 0.10 billed minutes; 1 new, 0 gone, 0 changed" in logged
    assert land(layout, export_id="3")["changed"] is False
    assert account.downloads == 2


@pytest.mark.parametrize(
    ("values", "figure"),
    [
        ({"total_cost": "0.01000100"}, "total_cost"),
        ({"billed_duration": "12"}, "billed_minutes"),
        ({"usf_fee": "0.00000100"}, "usf_fees"),
        ({"cnam_lookup_fee": "0.00390000"}, "cnamlookup_fees"),
        ({"cost_subtotal": "0.00900100"}, "call_subtotal"),
        ({"connect_fee": "0.0010"}, "connect_fees"),
        ({"ccrf": "0.00100100"}, "ccrf"),
    ],
)
def test_a_change_of_any_figure_is_landed(account, layout, values, figure, caplog, capsys):
    land(layout)
    account.calls[3] |= values
    caplog.clear()

    landed = land(layout)

    assert landed["difference"]["changed"] == 1
    assert landed["difference"]["cdr_ids"]["changed"] == [account.calls[3]["cdr_id"]]
    assert f"{figure} " in caplog.text + capsys.readouterr().out


def test_changes_that_cancel_out_within_a_day_replace_it(account, layout, tmp_path):
    """The figures of the whole window change by another day."""
    land(layout)
    files = inodes(tmp_path)
    account.calls[0]["total_cost"], account.calls[1]["total_cost"] = "0.03000000", "-0.01000000"
    account.calls.append(a_call("late", START + timedelta(days=2, hours=1)))

    landed = land(layout)

    replaced = [name for name, inode in inodes(tmp_path).items() if inode != files[name]]
    assert replaced == [name for name in files if "2026-11-02" not in name]
    assert (landed["difference"]["changed"], landed["difference"]["new"]) == (2, 1)


def test_figures_that_differ_without_another_row_replace_nothing(account, layout, tmp_path):
    """For example if Flowroute rounds in another way."""
    land(layout)
    files = inodes(tmp_path)
    account.reported = {"billed_minutes": 0.7}

    landed = land(layout)

    assert (landed["changed"], landed["difference"]["new"], account.downloads) == (False, 0, 2)
    assert inodes(tmp_path) == files


def test_figures_that_flowroute_omits_are_not_compared(account, layout):
    land(layout)
    account.reported = {"billed_minutes": None, "usf_fees": None}
    assert land(layout)["changed"] is False

    account.reported = {"num_calls": None}
    assert land(layout)["difference"]["rows"] == 0
    assert account.downloads == 2


def test_a_missing_day_is_landed_and_the_others_are_left(account, tmp_path):
    layout = {"path": f"{tmp_path}/date={{date}}/cdrs.parquet", "partition_by": "day"}
    land(layout)
    files = inodes(tmp_path)
    (tmp_path / "date=2026-11-03" / "cdrs.parquet").unlink()

    landed = land(layout)

    assert (landed["changed"], landed["files"], landed["files_published"]) == (True, 3, 1)
    assert landed["difference"]["new"] == 0  # the difference is that of the days that were landed
    assert {name: inode for name, inode in inodes(tmp_path).items() if "03" not in name} == {
        name: inode for name, inode in files.items() if "03" not in name
    }
    assert len(inodes(tmp_path)) == 3


def test_a_file_of_another_program_is_replaced(account, layout, tmp_path):
    land(layout)
    path = max(tmp_path.rglob("*.parquet"))
    path.write_bytes(b"not ours")

    assert land(layout)["changed"] is True

    assert pq.read_table(path).num_rows in (2, 6)


def test_a_file_of_an_earlier_version_is_replaced_once(account, layout, tmp_path):
    """Its footer has no fees."""
    land(layout)
    path = max(tmp_path.rglob("*.parquet"))
    metadata = {
        name.decode(): value.decode()
        for name, value in pq.read_metadata(path).metadata.items()
        if name.startswith(b"flowroute.")
    }
    totals = metadata["flowroute.totals"]
    rewrite_footer(path, metadata | {"flowroute.totals": totals[: totals.index(', "fees"')] + "}"})

    assert (land(layout)["changed"], land(layout)["changed"]) == (True, False)
    assert account.downloads == 2


def test_a_file_that_failed_a_check_is_not_taken_as_landed(account, layout):
    account.calls.append(account.calls[0])
    land(layout, on_mismatch="warn")
    del account.calls[-1]
    account.calls[1] |= {"total_cost": "0.02000000", "billed_duration": "12"}
    account.calls[1] |= {"ccrf": "0.00200000", "cost_subtotal": "0.01800000"}
    account.reported = {"num_calls": 7}

    landed = land(layout, on_mismatch="warn")

    assert account.downloads == 2
    assert landed["changed"] is True


def test_a_damaged_landed_file_is_replaced(account, layout, tmp_path):
    """Its footer is intact, and its rows are not."""
    land(layout)
    path = min(tmp_path.rglob("*.parquet"))
    content = bytearray(path.read_bytes())
    content[4:400] = bytes(396)
    path.write_bytes(content)
    account.calls.append(a_call("late", START + timedelta(hours=3)))

    landed = land(layout)

    assert landed["changed"] is True
    assert "late" in pq.read_table(path).column("cdr_id").to_pylist()


def test_the_footer_of_an_unchanged_day_keeps_its_export(account, tmp_path):
    layout = {"path": f"{tmp_path}/date={{date}}/cdrs.parquet", "partition_by": "day"}
    land(layout)
    account.calls.append(a_call("late", START))
    land(layout, export_id="2")

    footers = [
        read_footer(ObjectStoragePath(f"file://{path}")) for path in sorted(tmp_path.rglob("*.parquet"))
    ]
    assert [footer.export_id for footer in footers if footer] == ["2", "1", "1"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": "/x.parquet", "overwrite": "always"}, "overwrite is 'always'"),
        ({"path": "/x.parquet", "overwrite": None}, "overwrite is None"),
        ({"path": "/x.csv.gz"}, "overwrite is 'if_changed', and file_format is 'csv.gz'"),
        ({"path": "/x.parquet", "file_format": "csv"}, "overwrite is 'if_changed', and file_format is 'csv'"),
    ],
)
def test_if_changed_is_checked_when_the_dag_is_parsed(options, message):
    with pytest.raises(AirflowFailException, match=message):
        land(options)


def test_a_landed_file_that_cannot_be_read_is_an_error(account, layout, tmp_path, mocker):
    from fsspec.implementations.local import LocalFileSystem

    land(layout)
    mocker.patch.object(LocalFileSystem, "info", side_effect=TimeoutError("no answer"))

    with pytest.raises(CdrExportLandingError, match="cannot be read"):
        land(layout)
