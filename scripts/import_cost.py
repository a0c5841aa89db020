"""Checks that importing an operator costs little more than importing Airflow's BaseOperator alone.

Airflow parses DAG files over and over, and pays this each time. Fresh interpreters take turns, so that a busy
machine slows both alike, and the medians are compared.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from importlib.metadata import version

LIMIT = 0.15
ROUNDS = 15
AIRFLOW = version("apache-airflow")
BASE = (
    "from airflow.models.baseoperator import BaseOperator"
    if AIRFLOW.startswith("2.")
    else "from airflow.sdk import BaseOperator"
)
OURS = "import airflow_provider_flowroute.operators.cdr_export"


def seconds(code: str) -> float:
    """Time a fresh interpreter that runs ``code``."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, stdin=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> int:
    """Measure, and say what came out.

    :return: 1 if it costs too much.
    """
    for code in (BASE, OURS):  # once without a clock: byte code is written, disks are warm
        seconds(code)
    rounds = [(seconds(BASE), seconds(OURS)) for _ in range(ROUNDS)]
    base, ours = (statistics.median(column) for column in zip(*rounds, strict=True))
    cost = ours / base - 1
    print(f"Airflow {AIRFLOW}, medians of {ROUNDS} interleaved runs:")
    print(f"  {base:.3f} s  {BASE}")
    print(f"  {ours:.3f} s  {OURS}")
    print(f"  {cost:+.1%}, allowed is under {LIMIT:.0%}")
    return int(cost >= LIMIT)


if __name__ == "__main__":
    sys.exit(main())
