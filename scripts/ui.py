"""Runs `airflow standalone` with the example DAGs and a Flowroute account on localhost, until Ctrl-C."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from airflow_env import AIRFLOW_VERSION, CHECKOUT
from airflow_standalone import free_port, gave_up, password, prepare, standalone, ui_env, wait_until_healthy
from rich.console import Console

from airflow_provider_flowroute.simulator import FlowrouteSimulator

# A database of one Airflow is no use to another.
HOME = CHECKOUT / ".airflow-ui" / ".".join(AIRFLOW_VERSION.split(".")[:2])
console = Console(highlight=False)


@contextmanager
def only_one() -> Iterator[None]:
    """Keep others out: two schedulers on one SQLite database come to grief."""
    with (HOME / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise click.ClickException(f"make ui is running already, in {HOME}.") from None
        yield


def serve(port: int, flowroute: FlowrouteSimulator, log: Path) -> None:
    """Start Airflow, say where it is, and stay until it ends or is told to."""
    address = f"http://127.0.0.1:{port}"
    env = ui_env(HOME, port, flowroute.connection_json)
    with console.status(f"Airflow {AIRFLOW_VERSION} gets its database ..."):
        prepare(env, flowroute.connection, log)
    with standalone(env, log) as process:
        with console.status("Airflow starts: half a minute or so ..."):
            wait_until_healthy(process, address, log)
        console.print(
            f"Airflow {AIRFLOW_VERSION}: [bold green]{address}[/]  user admin, password {password(HOME)}"
        )
        console.print(f"Flowroute account: {flowroute.url}, connection flowroute_default", soft_wrap=True)
        console.print(f"Log: {os.path.relpath(log)}. Stop with Ctrl-C.", soft_wrap=True)
        process.wait()
        raise gave_up(f"airflow standalone ended by itself ({process.returncode})", log)


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8080, help="Airflow's port; 0 for any.")
@click.option("--simulator-port", type=click.IntRange(0, 65535), default=0, help="Flowroute's; 0 for any.")
def main(port: int, simulator_port: int) -> None:
    """Run Airflow's web interface with the example DAGs and a Flowroute account on localhost."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    HOME.mkdir(parents=True, exist_ok=True)
    try:
        with only_one(), FlowrouteSimulator(port=simulator_port, processing_seconds=20) as flowroute:
            serve(free_port(port), flowroute, HOME / "airflow.log")
    except KeyboardInterrupt:
        console.print("Stopped.")
    except OSError as trouble:
        raise click.ClickException(f"{trouble}. If a port is in use: make ui PORT=0") from trouble


if __name__ == "__main__":
    main()
