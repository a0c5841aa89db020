"""Measure how late an event loop wakes a sleeping coroutine.

As a command, it measures an event loop that does nothing else, until its input ends. That lag comes from the other
processes of the machine. Prints the 99th percentile in seconds.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time


async def measure_lag(lags: list[float]) -> None:
    """Add the lag to a list every 20 ms."""
    while True:
        started = time.perf_counter()
        await asyncio.sleep(0.02)
        lags.append(time.perf_counter() - started - 0.02)


def percentile_99(lags: list[float]) -> float:
    """Return the 99th percentile."""
    return statistics.quantiles(lags, n=100)[98]


async def _measure_idle() -> float:
    lags: list[float] = []
    with_input_open = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    measuring = asyncio.create_task(measure_lag(lags))
    await with_input_open
    measuring.cancel()
    return percentile_99(lags)


if __name__ == "__main__":
    print(asyncio.run(_measure_idle()))
