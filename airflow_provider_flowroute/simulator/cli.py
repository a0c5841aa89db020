"""The options of the command line."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from airflow_provider_flowroute.simulator.request_log import RecordedRequest
from airflow_provider_flowroute.simulator.serializers import CALLBACK_URL_ECHOES
from airflow_provider_flowroute.simulator.server import FlowrouteSimulator

_PORT: dict[str, Any] = {"metavar": "PORT", "type": click.IntRange(0, 65535)}
_COUNT: dict[str, Any] = {"metavar": "NUMBER", "type": click.IntRange(0)}
_NUMBER: dict[str, Any] = {"metavar": "NUMBER", "type": click.FloatRange(0)}
_SECONDS: dict[str, Any] = {"metavar": "SECONDS", "type": click.FloatRange(0)}
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(context_settings={"show_default": True, "max_content_width": 100})
@click.option("--port", default=8099, help="The API's port; 0 for any free port.", **_PORT)
@click.option("--download-port", default=0, help="The storage's port; 0 for any free port.", **_PORT)
@click.option(
    "--seed",
    metavar="NUMBER",
    default=1,
    help="Selects the call history; the same seed gives the same files.",
)
@click.option("--calls-per-day", default=200, help="The mean number of calls in a UTC day.", **_NUMBER)
@click.option(
    "--processing-seconds",
    default=5,
    help="How long an export is processing; inf: until POST /_simulator/exports/ID/complete.",
    **_SECONDS,
)
@click.option("--link-seconds", default=259200, help="How long a download link is valid.", **_SECONDS)
@click.option(
    "--state",
    type=_FILE,
    help="Keep the exports in this file. Set both ports too, so that old links stay valid.",
)
@click.option(
    "--callback-retries",
    default=4,
    help="How many times a callback is repeated if the answer is not 200.",
    **_COUNT,
)
@click.option(
    "--callback-retry-seconds", default=30, help="The time between two repetitions of a callback.", **_SECONDS
)
@click.option(
    "--callback-url-echo",
    type=click.Choice(CALLBACK_URL_ECHOES),
    default="exact",
    help="How responses show the callback URL of an export.",
)
@click.option("--access-key", default="demo-access-key", help="The only access key that is accepted.")
@click.option("--secret-key", default="demo-secret-key", help="Its secret key.")
@click.option("--quiet", is_flag=True, help="Print no requests.")
def main(quiet: bool, **options: Any) -> None:
    """Run a simulated Flowroute account on localhost.

    It listens only on 127.0.0.1 and its calls are generated. It discards its exports when it stops, unless
    --state names a file. Press Ctrl+C to stop it. To simulate a fault, POST to /_simulator/faults.
    """
    console = Console(highlight=False)
    on_request = None if quiet else lambda record: console.print(_format_request(record), soft_wrap=True)
    try:
        simulator = FlowrouteSimulator(**options, on_request=on_request)
        with _blocked_signals() as signals, simulator:
            _print_connection(console, simulator)
            signal.sigwait(signals)
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    console.print("Stopped.")


@contextmanager
def _blocked_signals() -> Iterator[set[signal.Signals]]:
    """Block the signals that stop the command, for ``sigwait``.

    A handler that sets a ``threading.Event`` can cause a deadlock if the main thread waits for this event. Every thread
    that starts in this context inherits the block.
    """
    signals = {signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield signals
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _print_connection(console: Console, flowroute: FlowrouteSimulator) -> None:
    console.print(Text.assemble("Flowroute simulator: ", (flowroute.url, "bold green")), soft_wrap=True)
    console.print(f"Downloads: {flowroute.download_origin}. Use it in Airflow with:", soft_wrap=True)
    export = f"export AIRFLOW_CONN_FLOWROUTE_DEFAULT={shlex.quote(flowroute.connection_json)}"
    console.print(Text(export, "bold"), soft_wrap=True)


def _format_request(record: RecordedRequest) -> Text:
    status = "dropped" if record.status is None else str(record.status)
    colour = "green" if record.status and record.status < 400 else "red"
    return Text.assemble(
        (f"{status:>7} ", colour), (f"{record.on:<8} ", "cyan"), f"{record.method} {record.path}"
    )
