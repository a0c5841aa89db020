"""A Postgres and a Redis for the tests, on loopback, in temporary directories."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.support import a_closed_port, wait_until


def listens(port: int) -> bool:
    """Whether a process listens on a port of this machine."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@contextmanager
def _running(
    command: list[str],
    is_ready: Callable[[], bool],
    directory: str,
    stop: int,
    user: dict[str, Any] | None = None,
) -> Iterator[None]:
    """Run a server until the block ends.

    :param is_ready: whether it accepts connections.
    :param directory: its working directory, which has its log.
    :param stop: the signal that stops it.
    :param user: options of Popen: the user that runs it, if not the user of this process.
    """
    log = Path(directory, "server.log")
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=directory, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **(user or {})
        )
    try:
        wait_until(lambda: process.poll() is not None or is_ready(), 60, f"{command[0]} is ready")
        assert process.poll() is None, log.read_text(errors="replace")[-3000:]
        yield
    finally:
        process.send_signal(stop)
        process.wait(timeout=60)


def _postgres_command(name: str) -> str:
    """Return the path of a command of Postgres: Debian has a directory for each version, not in PATH."""
    directories = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
    command = shutil.which(name, path=os.pathsep.join([*directories, os.environ["PATH"]]))
    assert command, f"There is no {name}. On Debian and Ubuntu: apt-get install postgresql"
    return command


@contextmanager
def postgres() -> Iterator[str]:
    """Run a Postgres with an empty database. Yields its URL."""
    port = a_closed_port()
    user: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="flowroute-postgres-") as directory:
        if os.geteuid() == 0:  # Postgres does not run as root
            nobody = pwd.getpwnam("nobody")
            user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(directory, nobody.pw_uid, nobody.pw_gid)
        data = f"{directory}/data"
        initdb = f"{_postgres_command('initdb')} -D {data} -U airflow --auth=trust --encoding=UTF8 --no-sync"
        subprocess.run(initdb.split(), check=True, cwd=directory, stdout=subprocess.DEVNULL, **user)
        # 200 connections; no fsync, because the data lives no longer than the tests.
        server = f"{_postgres_command('postgres')} -D {data} -h 127.0.0.1 -p {port} -k {directory} -N 200 -F".split()
        url = f"postgresql://airflow@127.0.0.1:{port}/postgres"
        ready = [_postgres_command("pg_isready"), "-q", "-d", url]

        def is_ready() -> bool:
            return subprocess.run(ready, check=False).returncode == 0

        with _running(server, is_ready, directory, signal.SIGINT, user):  # SIGINT: a fast shutdown
            yield url


@contextmanager
def redis() -> Iterator[str]:
    """Run a Redis that stores nothing. Yields its URL."""
    port = a_closed_port()
    with tempfile.TemporaryDirectory(prefix="flowroute-redis-") as directory:
        command = f"redis-server --port {port} --bind 127.0.0.1 --dir {directory} --save".split()
        with _running([*command, ""], lambda: listens(port), directory, signal.SIGTERM):
            yield f"redis://127.0.0.1:{port}/0"
