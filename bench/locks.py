"""How long a lock's hand-over takes: many contenders, each in a session of its own, hold it one after another.

`python bench/locks.py HOST:PORT [CONTENDERS]` prints the median and the worst time between a release and the next
holder's turn, in ms.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time

import corral
from corral.recipes.lock import Lock

PATH = "/bench-lock"


async def measure(hosts: str, contenders: int) -> list[float]:
    """Return the hand-over times in ms."""
    clients = [await corral.connect(hosts, session_timeout_ms=30_000).start() for _ in range(contenders)]
    first = await Lock(clients[0], PATH).acquire()
    handovers: list[float] = []
    released_at = 0.0

    async def contend(client: corral.AsyncClient) -> None:
        nonlocal released_at
        held = await Lock(client, PATH).acquire()
        handovers.append((time.perf_counter() - released_at) * 1000)
        released_at = time.perf_counter()
        await held.release()

    tasks = [asyncio.create_task(contend(client)) for client in clients[1:]]
    while len(await clients[0].children(PATH)) < contenders:  # noqa: ASYNC110  # The server is asked, not a task.
        await asyncio.sleep(0.01)
    released_at = time.perf_counter()
    await first.release()
    await asyncio.gather(*tasks)
    for client in clients:
        await client.close()
    return handovers


def main() -> None:
    """Measure and print."""
    hosts = sys.argv[1]
    contenders = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    times = asyncio.run(measure(hosts, contenders))
    print(f"{contenders} contenders: median {statistics.median(times):.2f} ms, worst {max(times):.2f} ms")


if __name__ == "__main__":
    main()
