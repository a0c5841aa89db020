"""Shows what importing our operator adds to importing Airflow's BaseOperator: a DAG file pays it at every parse."""

from __future__ import annotations

import statistics
import subprocess
import sys

BASE = "from airflow.providers.common.compat.sdk import BaseOperator"
OURS = f"{BASE}; import airflow_provider_flowroute.operators.cdr_export"
ROUNDS = 7
LIMIT = 0.15


def seconds(statements: str) -> float:
    """How long a fresh interpreter takes over the statements."""
    code = f"import time; t = time.perf_counter(); {statements}; print(time.perf_counter() - t)"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[-1])


def main() -> int:
    """Print the medians of interleaved runs.

    :return: 1 if the limit is passed.
    """
    seconds(OURS)  # compiles what is not yet compiled
    rounds = [(seconds(BASE), seconds(OURS)) for _ in range(ROUNDS)]
    base, ours = (statistics.median(column) for column in zip(*rounds, strict=True))
    share = ours / base - 1
    print(f"BaseOperator {base:.3f} s, with our operator {ours:.3f} s: {share:+.1%} (limit {LIMIT:.0%})")
    return int(share >= LIMIT)


if __name__ == "__main__":
    sys.exit(main())
