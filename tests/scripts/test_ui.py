"""`make ui` explains what is wrong before it starts Airflow."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import click
import pytest

sys.path.append(str(Path(__file__).parents[2] / "scripts"))

from airflow_standalone import connection_with_port
from ui import check_port


def test_a_port_in_use_is_reported_with_the_option_that_changes_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(click.ClickException) as caught:
            check_port(port, "the Flowroute account", "SIMULATOR_PORT")

    assert caught.value.message.splitlines() == [
        f"Port {port} cannot be used for the Flowroute account: Address already in use.",
        f"Choose another port, or any free one with 0: make ui SIMULATOR_PORT={port + 1}",
    ]


def test_port_0_selects_a_free_port() -> None:
    assert check_port(0, "Airflow's web interface", "PORT") > 0


def test_the_connection_stores_its_port_separately() -> None:
    connection = {"conn_type": "flowroute", "login": "key", "host": "http://127.0.0.1:8099"}

    assert connection_with_port(connection) == {**connection, "host": "http://127.0.0.1", "port": 8099}
