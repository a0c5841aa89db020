"""The account's call history: generated, reproducible and realistic."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from airflow_provider_flowroute.cdr.columns import COLUMNS
from airflow_provider_flowroute.simulator import FlowrouteSimulator
from tests.simulator.user import User

SAMPLE = (
    "Outbound,2019-06-25 18:18:54+00,2019-06-25 18:19:31+00,18774551500,Office Line 2,+12063389999,0.00000000,"
    "UNITED STATES - TOLL FREE,N/A,,completed,200,OK,37,42,0.000000,6,6,0.00000000,0.0000,0.00000000,0.00000000,"
    "0.00000000,,53.186.152.52:5080\n"
    "Inbound,2019-06-25 18:18:00+00,2019-06-25 18:18:29+00,12063389999,Office Line 2,+12069928999,0.00474784,"
    "UNITED STATES,UNITED STATES,61,completed,200,OK,29,30,0.001500,6,6,0.00075000,0.0000,0.00000000,0.00009784,"
    "0.00390000,,53.186.152.52\n"
    "Outbound,2019-06-25 18:15:38+00,2019-06-25 18:17:24+00,12069928999,Office Line 1,+12063389998,0.01994112,"
    "UNITED STATES,N/A,,completed,200,OK,106,108,0.009800,6,6,0.01764000,0.0000,0.00000000,0.00230112,0.00000000,,"
    "53.186.151.52:5080\n"
)


@pytest.fixture(scope="module")
def month() -> list[dict[str, str]]:
    with FlowrouteSimulator() as flowroute, User(flowroute) as user:
        return user.rows("2026-03-02 00:00:00", "2026-03-30 00:00:00")


def test_sample_day_has_exactly_the_published_sample(user: User) -> None:
    export_id = user.create("2019-06-25 00:00:00", "2019-06-26 00:00:00")
    header = ",".join(COLUMNS[:25]) + "\n"
    assert user.flowroute.csv(export_id).decode() == header + SAMPLE
    assert user.status(export_id)["total_cost"] == "0.024689"


def test_wider_window_has_sample_calls_with_empty_new_columns(user: User) -> None:
    rows = user.rows("2019-06-24 00:00:00", "2019-06-27 00:00:00")
    that_day = [row for row in rows if row["start_time"].startswith("2019-06-25")]
    text = io.StringIO()
    csv.DictWriter(text, COLUMNS[:25], extrasaction="ignore", lineterminator="\n").writerows(that_day)
    assert text.getvalue() == SAMPLE
    assert len(rows) > 100
    assert {row[name] for row in that_day for name in COLUMNS[25:]} == {""}


def test_same_seed_and_window_give_the_same_bytes() -> None:
    """Another seed gives other bytes."""

    files = []
    for seed in (7, 7, 8):
        with FlowrouteSimulator(seed=seed) as flowroute, User(flowroute) as user:
            files.append(user.get(user.link(user.create())).content)
    assert files[0] == files[1]
    assert files[0] != files[2]


def test_adjacent_windows_are_contiguous_to_the_second(user: User) -> None:
    """Adjacent windows have no gaps and no overlap."""

    edges = ["2026-03-02 00:00:00", "2026-03-02 09:17:03", "2026-03-02 18:00:00", "2026-03-03 00:00:00"]
    complete = user.rows(edges[0], edges[-1])
    pieces = [user.rows(*window) for window in itertools.pairwise(edges)]
    assert [row for piece in reversed(pieces) for row in piece] == complete
    instant = complete[len(complete) // 2]["start_time"].removesuffix("+00")
    before, after = user.rows(edges[0], instant), user.rows(instant, edges[-1])
    assert after + before == complete
    assert after[-1]["start_time"] == instant + "+00"


def test_calls_are_newest_first_with_unique_cdr_ids(month: list[dict[str, str]]) -> None:
    starts = [row["start_time"] for row in month]
    assert starts == sorted(starts, reverse=True)
    assert len({row["cdr_id"] for row in month}) == len(month)
    assert tuple(month[0]) == COLUMNS


def test_mean_number_of_calls_matches_calls_per_day(month: list[dict[str, str]]) -> None:
    assert len(month) / 28 == pytest.approx(200, rel=0.05)
    by_day = Counter(datetime.fromisoformat(row["start_time"] + ":00").weekday() for row in month)
    assert by_day[6] < by_day[1] / 2
    by_hour = Counter(row["start_time"][11:13] for row in month)
    assert by_hour["09"] < by_hour["18"] / 4


def test_fees_add_up_to_total_cost_exactly(month: list[dict[str, str]]) -> None:
    eight = Decimal("0.00000001")
    for row in month:
        subtotal, total = Decimal(row["cost_subtotal"]), Decimal(row["total_cost"])
        parts = [Decimal(row[name]) for name in ("connect_fee", "usf_fee", "ccrf", "cnam_lookup_fee")]
        assert total == subtotal + sum(parts)
        assert subtotal == (Decimal(row["rate"]) * int(row["billed_duration"]) / 60).quantize(eight)
        domestic = row["destination_name"].startswith("UNITED STATES")
        assert Decimal(row["ccrf"]) == (subtotal * Decimal("0.13045")).quantize(eight) * domestic
        assert row["cnam_lookup_fee"] == (
            "0.00390000" if row["direction"].lower() == "inbound" else "0.00000000"
        )


def test_durations_are_billed_in_increments(month: list[dict[str, str]]) -> None:
    for row in month:
        duration, billed, step = (
            int(row[name]) for name in ("duration", "billed_duration", "subsequent_increment")
        )
        begun, ended = (datetime.fromisoformat(row[name] + ":00") for name in ("start_time", "end_time"))
        assert ended - begun == timedelta(seconds=duration)
        assert billed % step == 0
        assert billed - step < duration <= billed
    assert {row["first_increment"] for row in month} == {"6", "60"}


def test_calls_are_as_varied_as_real_calls(month: list[dict[str, str]]) -> None:
    def seen(column: str) -> set[str]:
        return {row[column] for row in month}

    assert seen("direction") == {"Inbound", "inbound", "Outbound", "outbound"}
    assert seen("result") == {"completed", "cancelled", "failed"}
    assert {(row["call_fail_sip_code"], row["result"]) for row in month} >= {
        ("200", "completed"),
        ("487", "cancelled"),
    }
    assert {"", "Sales, West", 'Support "24/7", all hands', "東京オフィス"} <= seen("number_alias")
    assert {"", "anonymous"} < seen("callerid")
    assert {"UNITED STATES - TOLL FREE", "GERMANY", "UNITED KINGDOM - MOBILE"} < seen("destination_name")
    assert {"", "tenant-17", "café"} < seen("custom_x_tag")
    assert not any(row["destination"].startswith("+") for row in month)
    outbound = {":" in row["customer_ip"] for row in month if row["direction"].lower() == "outbound"}
    inbound = {":" in row["customer_ip"] for row in month if row["direction"].lower() == "inbound"}
    assert (outbound, inbound) == ({True}, {False})


@pytest.mark.flowroute(calls_per_day=20_000)
def test_future_calls_and_calls_in_progress_have_no_record(flowroute: FlowrouteSimulator, user: User) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    hour = timedelta(hours=1)
    rows = user.rows(f"{now - hour:%Y-%m-%d %H:%M:%S}", f"{now + 2 * hour:%Y-%m-%d %H:%M:%S}")
    assert rows
    requested_at = flowroute.exports[0].requested_at
    assert max(datetime.fromisoformat(row["end_time"] + ":00") for row in rows) <= requested_at
    assert user.rows("2999-01-01 00:00:00", "2999-02-01 00:00:00") == []
    assert user.rows("9999-12-31 00:00:00", "9999-12-31 23:59:59") == []


@pytest.mark.flowroute(calls_per_day=0)
def test_account_without_calls_has_empty_files(user: User) -> None:
    assert user.rows() == []


def test_file_is_plain_gzip_with_newlines(user: User) -> None:
    content = user.get(user.link(user.create())).content
    text = gzip.decompress(content)
    assert content[4:8] == b"\0\0\0\0"
    assert text.endswith(b"\n")
    assert b"\r" not in text
