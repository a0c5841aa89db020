"""Landings in processes of their own, from an account that can stop a download in its middle."""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support import Answer, connection_json, serving

OLD = b"yesterday's"
ROWS = 2000
HEADER = "direction,start_time,destination,callerid,total_cost,billed_duration,custom_x_tag"


def a_file(rows: int, noise: int = 16) -> bytes:
    """Return the CSV of an export, with rows that do not compress."""
    dice = random.Random(rows)
    lines = [
        f"Inbound,2019-06-25 10:00:{row % 60:02d}+00,1,2,0.00000001,6,{dice.getrandbits(noise * 4):x}"
        for row in range(rows)
    ]
    return "\n".join([HEADER, *lines, ""]).encode()


@dataclass
class Account:
    """An account with one export, whose download stops in the middle until ``hold`` is set."""

    content: bytes
    rows: int
    hold: threading.Event = field(default_factory=threading.Event)
    held: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def answer(self, request: Answer) -> None:
        if request.path == "/file":
            packed = gzip.compress(self.content, 1, mtime=0)
            request.send_response(200)
            request.send_header("Content-Length", str(len(packed)))
            request.end_headers()
            middle = len(packed) // 2
            request.wfile.write(packed[:middle])
            self.held.set()
            self.hold.wait(60)
            request.wfile.write(packed[middle:])
            return
        window = {
            "start_call_start_time": "2019-06-25 00:00:00",
            "start_call_end_time": "2019-06-26 00:00:00",
        }
        attributes = {
            "status": "completed",
            "num_calls": self.rows,
            "total_cost": f"{self.rows * 1e-8:.8f}",
            "filter_parameters": window,
            "download_url": f"{self.url}/file",
        }
        request.send(200, {"data": {"id": "1", "attributes": attributes}})


@pytest.fixture
def a_source(monkeypatch) -> Iterator[Callable[..., Account]]:
    servers, accounts = [], []

    def start(rows: int = ROWS, noise: int = 16, hold: bool = False) -> Account:
        account = Account(a_file(rows, noise), rows)
        if not hold:
            account.hold.set()
        accounts.append(account)
        servers.append(server := serving(account.answer))
        account.url = server.__enter__().url
        monkeypatch.setenv("AIRFLOW_CONN_FLOWROUTE_DEFAULT", connection_json(account.url))
        return account

    yield start
    for account in accounts:
        account.hold.set()
    for server in servers:
        server.__exit__(None, None, None)


@dataclass
class Lander:
    """Start landings, each in a process of its own; see ``lander.py``."""

    process: subprocess.Popen[str]
    temporary: Path

    def start(self, **arguments: Any) -> int:
        """Start a landing.

        :return: its process ID.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        environment = {
            name: value for name, value in os.environ.items() if name.startswith(("AIRFLOW_CONN", "AWS"))
        }
        request = {"export_id": "1", "environment": environment, **arguments}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def outcome(self) -> str:
        """Return its result; an empty text if it was killed."""
        assert self.process.stdout is not None
        return str(json.loads(self.process.stdout.readline()))

    def land(self, **arguments: Any) -> str:
        """Start a landing, and return its result."""
        self.start(**arguments)
        return self.outcome()


@pytest.fixture(scope="module")
def a_lander(tmp_path_factory) -> Iterator[Lander]:
    temporary = tmp_path_factory.mktemp("temporary")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.transfers.lander"],
        env={**os.environ, "TMPDIR": str(temporary), "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"},
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    yield Lander(process, temporary)
    process.stdin.close()  # type: ignore[union-attr]
    process.wait(30)


@pytest.fixture
def lander(a_lander: Lander) -> Lander:
    for left in a_lander.temporary.iterdir():  # of a killed landing
        shutil.rmtree(left)
    return a_lander
