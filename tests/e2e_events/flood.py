"""Send callbacks with wrong tokens at a rate: `python -m tests.e2e_events.flood URL RATE SECONDS`.

It prints how many were refused. It is a process of its own with the lowest priority, because an attacker's computer
takes no time from Airflow's.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import Counter

import aiohttp

#: How often requests are sent, per second.
TICKS = 20


async def flood(url: str, rate: int, seconds: int) -> Counter[int]:
    """Return the number of answers by status."""
    statuses: Counter[int] = Counter()
    async with aiohttp.ClientSession(headers={"Content-Type": "application/json"}) as session:

        async def send(number: int) -> None:
            async with session.post(f"{url}{number}", data=b"{}") as response:
                statuses[response.status] += 1

        began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for tick in range(TICKS * seconds):
                for index in range(rate // TICKS):
                    tasks.create_task(send(tick * rate + index))
                await asyncio.sleep(began + (tick + 1) / TICKS - time.monotonic())
    return statuses


if __name__ == "__main__":
    os.nice(19)
    print(asyncio.run(flood(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))[404])  # noqa: T201
