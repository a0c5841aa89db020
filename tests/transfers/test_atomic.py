"""After any failure a reader of the target sees the complete old file or the complete new file."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_provider_flowroute.landing import FORMATS
from tests.support import wait_until

from .conftest import OLD


@pytest.fixture
def a_target(tmp_path: Path) -> Callable[[str], Path]:
    def make(suffix: str) -> Path:
        target = tmp_path / "lake" / f"day.{suffix}"
        target.parent.mkdir()
        target.write_bytes(OLD)
        return target

    return make


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_kill_in_a_download_leaves_the_old_file(a_source, lander, a_target, suffix):
    account, target = a_source(150_000, hold=True), a_target(suffix)

    child = lander.start(path=str(target))
    wait_until(account.held.is_set)
    wait_until(lambda: len(list(target.parent.iterdir())) == 2)
    os.kill(child, signal.SIGKILL)

    assert lander.outcome() == ""
    assert target.read_bytes() == OLD
    account.hold.set()
    assert lander.land(path=str(target)) == "landed"
    assert target.read_bytes() != OLD


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_kill_at_any_moment_leaves_the_old_or_the_new_file(a_source, lander, a_target, suffix):
    a_source()
    target = a_target(suffix)
    started = time.monotonic()
    assert lander.land(path=str(target)) == "landed"
    took, new = time.monotonic() - started, target.read_bytes()
    seen = set()

    for part in range(15):
        target.write_bytes(OLD)
        child = lander.start(path=str(target))
        time.sleep(took * part / 12)  # the moment of the kill, not a wait
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        outcome = lander.outcome()
        content = target.read_bytes()
        assert content in (OLD, new)
        assert outcome != "landed" or content == new
        seen.add(content)

    assert OLD in seen


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_full_disk_leaves_the_old_file_and_nothing_else(a_source, lander, a_target, suffix):
    a_source()
    target = a_target(suffix)

    outcome = lander.land(path=str(target), limit=4096)

    assert outcome.startswith("CdrExportLandingError: Export 1 cannot be written to")
    assert all(word in outcome for word in (str(target), "File too large", "is unchanged", "space"))
    assert target.read_bytes() == OLD
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_a_target_that_cannot_be_written_is_a_landing_error(a_source, lander, tmp_path):
    a_source()
    (tmp_path / "file").write_bytes(OLD)

    outcome = lander.land(path=str(tmp_path / "file" / "day.csv"))

    assert outcome.startswith("CdrExportLandingError")
    assert "File exists" in outcome
