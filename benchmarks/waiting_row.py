"""Measure one row of the waiting benchmark in a fresh process. The last line of its output is a JSON object."""

from __future__ import annotations

import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="flowroute-bench-"))
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"

from waiting_lag import measure_lag, percentile_99
from waiting_server import COUNT

from airflow_provider_flowroute.hooks.flowroute import FlowrouteHook
from airflow_provider_flowroute.triggers.cdr_export import CdrExportTrigger

#: Seconds.
LATENCY = 0.2
#: Exports that complete in a second, at most: a poll by ID, which confirms each of them, takes ``LATENCY``.
COMPLETIONS = 1.0


def process(module: str) -> subprocess.Popen[str]:
    """Start a module of this folder, which runs until its input ends."""
    command = [sys.executable, str(Path(__file__).with_name(f"{module}.py"))]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@contextmanager
def served(**settings: Any) -> Iterator[str]:
    """Start the server, and make the connection to it."""
    with process("waiting_server") as server:
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps(settings) + "\n")
        server.stdin.flush()
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
        connection = {"conn_type": "flowroute", "login": "key", "password": "secret", "host": url}
        os.environ["AIRFLOW_CONN_FLOWROUTE_DEFAULT"] = json.dumps(connection)
        yield url
        server.stdin.close()


class Samples:
    """What the other triggers of the triggerer notice, and what the process holds."""

    def __init__(self) -> None:
        self.lags: list[float] = []
        self.neighbours: list[float] = []
        self.sockets: list[int] = []
        self.threads: list[int] = []

    async def measure_neighbour(self) -> None:
        """Measure how long a trigger of another provider waits for a thread of the default executor."""
        while True:
            started = time.perf_counter()
            await asyncio.to_thread(int)
            self.neighbours.append(time.perf_counter() - started)
            await asyncio.sleep(0.25)

    async def count(self) -> None:
        """Count sockets and threads."""
        while True:
            links = []
            for number in os.listdir("/proc/self/fd"):
                with suppress(FileNotFoundError):
                    links.append(os.readlink(f"/proc/self/fd/{number}"))
            self.sockets.append(sum(link.startswith("socket:") for link in links))
            self.threads.append(threading.active_count())
            await asyncio.sleep(0.5)


async def measure(exports: int, hung: bool, rounds: int, poke_interval: float) -> dict[str, Any]:
    """Wait for exports, and return the figures of the row."""
    start = time.time() + 3  # until then, the server and all triggers are running
    end = start + rounds * poke_interval
    completing = random.Random(1).sample(
        range(1, exports + 1), max(1, min(exports // 3, int((end - start) * COMPLETIONS)))
    )
    # The last completions still have a round and its requests before the end.
    latest = end - 1.2 * poke_interval - 2 * LATENCY * 10
    completed_at = {
        str(number): start + (latest - start) * (index + random.Random(number).random()) / len(completing)
        for index, number in enumerate(completing)
    }
    with served(exports=exports, latency=LATENCY, hung=hung, completed_at=completed_at) as url:
        await (
            FlowrouteHook().aget_client_options()
        )  # Airflow imports its secrets backends at the first lookup
        idle = process("waiting_lag")
        samples = Samples()
        background = [
            asyncio.create_task(measuring)
            for measuring in (measure_lag(samples.lags), samples.measure_neighbour(), samples.count())
        ]
        deadline = end - poke_interval if hung else end + 3600
        events: dict[str, tuple[str, float]] = {}

        async def wait(export_id: str) -> None:
            trigger = CdrExportTrigger(export_id, "flowroute_default", poke_interval, deadline, start)
            async for event in trigger.run():
                events[export_id] = event.payload["status"], time.time()

        waits = []
        for number in range(1, exports + 1):
            waits.append(asyncio.create_task(wait(str(number))))
            await asyncio.sleep(0)  # as the triggerer does
        await asyncio.sleep(start - time.time())
        cpu = time.process_time()
        await asyncio.sleep(end - time.time())
        cpu = time.process_time() - cpu
        idle_lag = float(idle.communicate()[0])
        for task in [*waits, *background]:
            task.cancel()
        await asyncio.gather(*waits, *background, return_exceptions=True)
        with urllib.request.urlopen(url + COUNT) as answer:
            requests = json.load(answer)
    expected = {"timeout"} if hung else {"completed"}
    assert {status for status, _ in events.values()} == expected, events
    assert hung or events.keys() == completed_at.keys(), (len(events), len(completed_at))
    delays = [at - (deadline if hung else completed_at[export_id]) for export_id, (_, at) in events.items()]
    return {
        "exports": exports,
        "hung": hung,
        "rounds": rounds,
        "requests": requests / rounds,
        "completions": 0 if hung else len(events) / rounds,
        "round": requests / rounds * LATENCY,
        "sockets": max(samples.sockets),
        "threads": max(samples.threads),
        "lag": percentile_99(samples.lags),
        "idle_lag": idle_lag,
        "neighbour": max(samples.neighbours),
        "delay_median": statistics.median(delays),
        "delay_max": max(delays),
        "cpu": cpu / rounds,
    }


def main() -> Coroutine[Any, Any, dict[str, Any]]:
    """Read the command line."""
    exports, hung, rounds, poke_interval = sys.argv[1:]
    return measure(int(exports), hung == "hung", int(rounds), float(poke_interval))


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main())))
