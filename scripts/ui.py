"""Run `airflow standalone` with the example DAGs and a simulated Flowroute account, until Ctrl-C."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path

import click
from airflow_env import AIRFLOW_VERSION, CHECKOUT, DAG, SAMPLE_DAY, airflow
from airflow_standalone import (
    AIRFLOW_2,
    api,
    failure,
    free_port,
    password,
    prepare,
    run,
    standalone,
    ui_env,
    wait_until_healthy,
)
from rich.console import Console

from airflow_provider_flowroute.simulator import FlowrouteSimulator

# Each Airflow version needs a database of its own.
HOME = CHECKOUT / ".airflow-ui" / ".".join(AIRFLOW_VERSION.split(".")[:2])
DAG_KNOWN_WITHIN = 60
RUN_ID = f"demo_{SAMPLE_DAY}"
DAY = timedelta(days=1)
console = Console(highlight=False, soft_wrap=True)


@contextmanager
def only_one() -> Iterator[None]:
    """Allow one process at a time: two schedulers cannot share an SQLite database."""
    with (HOME / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise click.ClickException(f"make ui is already running, in {HOME}.") from None
        yield


def check_port(port: int, use: str, option: str) -> int:
    """Return a port that is free: the given one, or any for 0.

    :param use: names what needs the port.
    :param option: the make option that sets it.
    :raises ClickException: the port is in use.
    """
    try:
        return free_port(port)
    except OSError as error:
        raise click.ClickException(
            f"Port {port} cannot be used for {use}: {error.strerror}.\n"
            f"Choose another port, or any free one with 0: make ui {option}={port + 1 if port else 0}"
        ) from error


def start_runs(address: str, env: dict[str, str], log: Path) -> None:
    """Trigger the sample day, and unpause the example DAG so that the scheduler runs yesterday.

    :raises ClickException: Airflow did not find the DAG in time, or refused the run.
    """
    deadline = time.monotonic() + DAG_KNOWN_WITHIN
    trigger = trigger_by_command if AIRFLOW_2 else trigger_by_api
    while error := trigger(address, env):
        if time.monotonic() > deadline:
            raise click.ClickException(f"{DAG} cannot be triggered: {error}")
        time.sleep(1)
    run(env, log, "dags", "unpause", DAG)


def trigger_by_command(_: str, env: dict[str, str]) -> str:
    """Trigger the sample day in Airflow 2. Return the error, or nothing."""
    command = [
        "dags",
        "trigger",
        DAG,
        "--run-id",
        RUN_ID,
        "--exec-date",
        f"{SAMPLE_DAY + DAY}T00:00:00+00:00",
    ]
    done = subprocess.run(
        airflow(*command), env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    exists = "already exists" in done.stdout + done.stderr  # from an earlier `make ui`
    return done.stderr[-2000:] if done.returncode and not exists else ""


def trigger_by_api(address: str, env: dict[str, str]) -> str:
    """Trigger the sample day in Airflow 3, whose command cannot set a data interval. Return the error, or nothing."""
    start, end = (f"{day}T00:00:00Z" for day in (SAMPLE_DAY, SAMPLE_DAY + DAY))
    body = {
        "dag_run_id": RUN_ID,
        "logical_date": start,
        "data_interval_start": start,
        "data_interval_end": end,
    }
    try:
        api(address, f"/api/v2/dags/{DAG}/dagRuns", body, password(Path(env["AIRFLOW_HOME"])))
    except urllib.error.HTTPError as error:
        if error.code != HTTPStatus.CONFLICT:  # a run from an earlier `make ui`
            return f"{error}\n{error.read().decode()[-2000:]}"
    return ""


def print_guide(address: str, flowroute: FlowrouteSimulator) -> None:
    """Print what to look at."""
    yesterday = datetime.now(UTC).date() - DAY
    dag, connections = (
        (f"dags/{DAG}/grid", "connection/list/") if AIRFLOW_2 else (f"dags/{DAG}", "connections")
    )
    console.print(
        "Look at:\n"
        f"  {address}/{dag}\n"
        f"      the runs for {SAMPLE_DAY} and {yesterday}: create, wait, land, report.\n"
        "      Until 02:00 UTC the run for yesterday waits for calls that end late.\n"
        f"  {address}/{connections}\n"
        "      the connection flowroute_default. Press its Test button.\n"
        f"  {os.path.relpath(HOME / 'lake')}\n"
        "      the landed Parquet files.\n"
        f"  {flowroute.url}/_simulator/exports\n"
        "      the exports of the simulated Flowroute account.\n"
        "A DAG file that you add to example_dags/ appears within 15 seconds."
    )


def serve(port: int, flowroute: FlowrouteSimulator, log: Path) -> None:
    """Start Airflow, run the example DAG, and wait until Airflow ends."""
    address = f"http://127.0.0.1:{port}"
    env = ui_env(HOME, port)
    with console.status(f"Airflow {AIRFLOW_VERSION}: creating the database ..."):
        prepare(env, flowroute.connection, log)
    with standalone(env, log) as process:
        with console.status("Airflow: starting, for about half a minute ..."):
            wait_until_healthy(process, address, log)
        console.print(
            f"Airflow {AIRFLOW_VERSION}: [bold green]{address}[/]  user admin, password {password(HOME)}"
        )
        with console.status(f"{DAG}: starting the runs ..."):
            start_runs(address, env, log)
        print_guide(address, flowroute)
        console.print(f"Log: {os.path.relpath(log)}. Stop with Ctrl-C.")
        process.wait()
        raise failure(f"airflow standalone ended (exit code {process.returncode})", log)


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8080, help="Airflow's port; 0 for any.")
@click.option("--simulator-port", type=click.IntRange(0, 65535), default=8099, help="Flowroute's; 0 for any.")
def main(port: int, simulator_port: int) -> None:
    """Run Airflow's web interface with the example DAGs and a simulated Flowroute account."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    HOME.mkdir(parents=True, exist_ok=True)
    try:
        with only_one():
            port = check_port(port, "Airflow's web interface", "PORT")
            simulator_port = check_port(simulator_port, "the Flowroute account", "SIMULATOR_PORT")
            with FlowrouteSimulator(port=simulator_port, processing_seconds=20) as flowroute:
                serve(port, flowroute, HOME / "airflow.log")
    except KeyboardInterrupt:
        console.print("Stopped.")


if __name__ == "__main__":
    main()
