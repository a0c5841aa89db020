"""Recipes of the documentation on real databases."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.airflow.conftest import airflow_db, run_dag  # noqa: F401
from tests.airflow.recipes import parse_dags
from tests.support import a_closed_port, wait_until


@pytest.fixture(scope="session")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory in place of /data/cdrs and of the bucket."""
    lake = tmp_path_factory.mktemp("lake") / "cdrs"
    lake.mkdir()
    return lake


@pytest.fixture(scope="session")
def recipes(airflow_db: None, lake: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:  # noqa: F811
    """The DAGs of docs/recipes.md by ID."""
    return parse_dags(tmp_path_factory.mktemp("dags") / "recipes.py", data=lake, s3=lake)


def postgres_bin() -> Path:
    """Return the directory of Postgres's commands: Debian has one for each version, not in PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else Path(str(shutil.which("initdb"))).parent


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Postgres with an empty database. Yields its URL."""
    directory = tmp_path_factory.mktemp("postgres")
    user: dict[str, Any] = {}
    if os.geteuid() == 0:  # Postgres does not run as root
        nobody = pwd.getpwnam("nobody")
        user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        os.chown(directory, nobody.pw_uid, nobody.pw_gid)
        for parent in list(directory.parents)[:2]:
            parent.chmod(0o711)  # pytest makes them for root only
    data, port = directory / "data", str(a_closed_port())
    commands = postgres_bin()
    subprocess.run(
        [commands / "initdb", "-D", data, "-U", "airflow", "--auth=trust", "--no-sync"],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=directory,
        **user,
    )
    command = [commands / "postgres", "-D", data, "-h", "127.0.0.1", "-p", port, "-k", directory]
    server = subprocess.Popen(command, cwd=directory, **user)
    url = f"postgresql://airflow@127.0.0.1:{port}/postgres"
    try:
        ready = [commands / "pg_isready", "-q", "-d", url]
        wait_until(lambda: subprocess.run(ready, check=False).returncode == 0, what="Postgres is ready")
        yield url
    finally:
        server.send_signal(signal.SIGINT)  # a fast shutdown
        server.wait(30)
