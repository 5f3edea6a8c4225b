"""How long a lock's hand-over takes: many contenders, each in a session of its own, hold it one after another.

`python bench/locks.py HOST:PORT [CONTENDERS]` prints the median and the worst time between a release and the next
holder's turn, in ms, and how many watch events there were for each. The server has `mntr` on its list of words.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time

import corral
from corral.recipes.lock import Lock

PATH = "/bench-lock"


async def measure(hosts: str, contenders: int) -> tuple[list[float], float]:
    """Return the hand-over times in ms, and the watch events for each hand-over."""
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
    events = await _watch_events(hosts)
    released_at = time.perf_counter()
    await first.release()
    await asyncio.gather(*tasks)
    events = await _watch_events(hosts) - events
    for client in clients:
        await client.close()
    return handovers, events / len(handovers)


async def _watch_events(hosts: str) -> int:
    """Return how many events the server has told watchers of."""
    host, _, port = hosts.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"mntr")
    lines = (await reader.read()).decode().splitlines()
    writer.close()
    values = dict(line.split("\t") for line in lines if line.startswith("zk_sum_node_"))
    return sum(int(value) for name, value in values.items() if name.endswith("_watch_count"))


def main() -> None:
    """Measure and print."""
    hosts = sys.argv[1]
    contenders = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    times, events = asyncio.run(measure(hosts, contenders))
    median = statistics.median(times)
    print(f"{contenders} contenders: median {median:.2f} ms, worst {max(times):.2f} ms, events {events:.2f}")


if __name__ == "__main__":
    main()
