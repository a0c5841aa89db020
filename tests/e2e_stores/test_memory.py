"""An upload takes little memory, however large the file is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .stores import connect

MEBIBYTES = 64


@pytest.mark.e2e_stores
def test_upload_of_300_mb_takes_at_most_64_mib(store, monkeypatch):
    connect(monkeypatch, store, store.connection(store.port))  # the proxy would be slow

    process = subprocess.run(
        [sys.executable, "-m", "tests.e2e_stores.upload", store.at("large.bin"), "300"],
        env={**os.environ, "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"},
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )

    assert store.keys() == ["large.bin"]
    assert int(process.stdout.split()[-1]) <= MEBIBYTES
