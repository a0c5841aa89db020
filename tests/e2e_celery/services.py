"""A Postgres and a Redis for the tests, on loopback, in temporary directories."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support import a_closed_port, wait_until

#: Where Debian installs the programs of Postgres, which are not all in PATH.
POSTGRES_PATH = os.pathsep.join([*map(str, Path("/usr/lib/postgresql").glob("*/bin")), os.environ["PATH"]])


def listens(port: int) -> bool:
    """Whether a process listens on a port of this machine."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@contextmanager
def _running(
    command: list[str], port: int, directory: str, stop: int, user: str | None = None
) -> Iterator[None]:
    """Run a server until the block ends.

    :param directory: its working directory, which has its log.
    :param stop: the signal that stops it.
    :param user: the user that runs it; None for the user of this process.
    """
    log = Path(directory, "server.log")
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=directory, user=user, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        wait_until(lambda: process.poll() is not None or listens(port), 60, f"{command[0]} listens")
        assert process.poll() is None, log.read_text(errors="replace")[-3000:]
        yield
    finally:
        process.send_signal(stop)
        process.wait(timeout=60)


@contextmanager
def postgres() -> Iterator[str]:
    """Run a Postgres with an empty database. Yields its URL."""
    # Postgres refuses to run as root.
    user = "postgres" if os.geteuid() == 0 else None
    initdb, server = (shutil.which(name, path=POSTGRES_PATH) for name in ("initdb", "postgres"))
    assert initdb, "These tests need Postgres. On Debian and Ubuntu: apt-get install postgresql"
    assert server
    port = a_closed_port()
    with tempfile.TemporaryDirectory(prefix="flowroute-postgres-") as directory:
        if user:
            shutil.chown(directory, user)
        data = f"{directory}/data"
        subprocess.run(
            [initdb, "--auth=trust", "--username=airflow", "--encoding=UTF8", "--no-sync", data],
            check=True,
            cwd=directory,
            user=user,
            stdout=subprocess.DEVNULL,
        )
        options = {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": directory,
            "max_connections": 200,
            "fsync": "off",  # the data lives no longer than the tests
        }
        settings = [argument for name, value in options.items() for argument in ("-c", f"{name}={value}")]
        # SIGINT ends the connections of the Airflow that was killed, then Postgres.
        with _running([server, "-D", data, *settings], port, directory, signal.SIGINT, user):
            yield f"postgresql+psycopg2://airflow@127.0.0.1:{port}/postgres"


@contextmanager
def redis() -> Iterator[str]:
    """Run a Redis that stores nothing. Yields its URL."""
    port = a_closed_port()
    with tempfile.TemporaryDirectory(prefix="flowroute-redis-") as directory:
        command = [
            "redis-server",
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            directory,
        ]
        with _running(command, port, directory, signal.SIGTERM):
            yield f"redis://127.0.0.1:{port}/0"
