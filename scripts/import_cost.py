"""Check that the import of an operator takes little longer than the import of Airflow's BaseOperator.

Airflow parses DAG files repeatedly and pays this cost each time. New interpreters import both in turn, and the medians
of their CPU seconds are compared: the wall time depends on the load of the machine.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
from importlib.metadata import version

LIMIT = 0.15
ROUNDS = 9
AIRFLOW = version("apache-airflow")
BASE = (
    "from airflow.models.baseoperator import BaseOperator"
    if AIRFLOW.startswith("2.")
    else "from airflow.sdk import BaseOperator"
)
OURS = "import airflow_provider_flowroute.operators.cdr_export"


def seconds(code: str) -> float:
    """Return the CPU seconds that a new interpreter takes to run ``code``."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, stdin=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    """Measure and print the cost.

    :return: 1 if the cost is above the limit.
    """
    for code in (BASE, OURS):  # once without a measurement, to compile and cache
        seconds(code)
    rounds = [(seconds(BASE), seconds(OURS)) for _ in range(ROUNDS)]
    base, ours = (statistics.median(column) for column in zip(*rounds, strict=True))
    cost = ours / base - 1
    print(f"Airflow {AIRFLOW}, median CPU time of {ROUNDS} interleaved runs:")
    print(f"  {base:.3f} s  {BASE}")
    print(f"  {ours:.3f} s  {OURS}")
    print(f"  {cost:+.1%}, the limit is {LIMIT:.0%}")
    return int(cost >= LIMIT)


if __name__ == "__main__":
    sys.exit(main())
