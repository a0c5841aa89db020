"""The quick start of docs/get-started.md, run with the commands of the page."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import CHECKOUT

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(180)]

PAGE = (CHECKOUT / "docs" / "get-started.md").read_text()


def step(number: int) -> str:
    """Return the command or the file of a step."""
    found = re.search(rf"^## {number}\. .*?^```\w+\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


def test_steps_of_the_page_produce_a_file_with_calls(airflow_db, flowroute, tmp_path: Path):
    def do(number: int) -> str:
        done = subprocess.run(
            ["bash", "-c", step(number).replace("/tmp/flowroute", str(tmp_path / "lake"))],
            env={
                **os.environ,
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path / "dags"),
                "PYTHONPATH": os.pathsep.join(sys.path),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=150,
        )
        assert done.returncode == 0, done.stdout[-3000:]
        return done.stdout

    (tmp_path / "dags").mkdir()
    dag = step(3).replace("/tmp/flowroute", str(tmp_path / "lake"))
    (tmp_path / "dags" / "flowroute_cdrs.py").write_text(dag)

    log = do(4)
    calls = do(5)

    [export] = flowroute.exports
    assert f"Landed export {export.id}: {export.totals.num_calls} calls" in log
    count = export.totals.num_calls
    assert f"Check of export {export.id}: rows {count}, expected {count} (passed)" in log
    assert len(calls.splitlines()) == 3
    assert calls.count("'start_time': datetime.datetime(2026, 11, 22") == 3
