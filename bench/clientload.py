"""One load of one client, in a process of its own: `clientload.py CLIENT LOAD PORT SECONDS` prints its figure.

CLIENT: corral, kazoo. LOAD: `threads N`, operations a second of N threads that read; `flight N`, of N reads that are
always under way; `watches N`, seconds from a cut until N watches stand again and a read is answered (Corral alone).
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import uvloop
from kazoo.client import KazooClient

import corral
from corral.client.values import State

PATH = "/clientload"
DATA = bytes(100)
NAME_CHARS = 120
SETUP_IN_FLIGHT = 1000


def main() -> None:
    """Run what the command line asks for."""
    client, load, number, port, seconds = sys.argv[1:]
    hosts = f"127.0.0.1:{port}"
    if load == "threads":
        figure = _threads(client, hosts, int(number), float(seconds))
    elif load == "watches":
        figure = uvloop.run(_watches(hosts, int(number)))
    elif client == "corral":
        figure = uvloop.run(_flight(hosts, int(number), float(seconds)))
    else:
        figure = _kazoo_flight(hosts, int(number), float(seconds))
    print(figure)


def _threads(client: str, hosts: str, number: int, seconds: float) -> float:
    zk: Any = corral.Client(hosts) if client == "corral" else KazooClient(hosts)
    zk.start()
    _make_node(zk.exists, zk.create)
    counts = [0] * number
    begin = threading.Barrier(number + 1)
    until = [0.0]

    def read(at: int) -> None:
        begin.wait()
        end, get = until[0], zk.get
        while time.monotonic() < end:
            get(PATH)
            counts[at] += 1

    threads = [threading.Thread(target=read, args=(at,)) for at in range(number)]
    for thread in threads:
        thread.start()
    until[0] = time.monotonic() + seconds
    begin.wait()
    for thread in threads:
        thread.join()
    zk.close() if client == "corral" else zk.stop()
    return sum(counts) / seconds


async def _flight(hosts: str, number: int, seconds: float) -> float:
    async with corral.connect(hosts) as zk:
        if await zk.exists(PATH) is None:
            await zk.create(PATH, DATA)
        end = time.monotonic() + seconds

        async def read() -> int:
            count = 0
            while time.monotonic() < end:
                await zk.get(PATH)
                count += 1
            return count

        return sum(await asyncio.gather(*(read() for _ in range(number)))) / seconds


def _kazoo_flight(hosts: str, number: int, seconds: float) -> float:
    zk = KazooClient(hosts)
    zk.start()
    _make_node(zk.exists, zk.create)
    end = time.monotonic() + seconds
    under_way: deque[Any] = deque(zk.get_async(PATH) for _ in range(number))
    count = 0
    while time.monotonic() < end:
        under_way.popleft().get()
        under_way.append(zk.get_async(PATH))
        count += 1
    for each in under_way:
        each.get()
    zk.stop()
    return count / seconds


def _make_node(exists: Callable[[str], object], create: Callable[[str, bytes], object]) -> None:
    if exists(PATH) is None:
        create(PATH, DATA)


async def _watches(hosts: str, number: int) -> float:
    async with corral.connect(hosts) as zk:
        names = [f"{PATH}-{at:06d}-".ljust(NAME_CHARS, "x") for at in range(number)]
        for at in range(0, number, SETUP_IN_FLIGHT):
            await asyncio.gather(*(zk.exists(name, print) for name in names[at : at + SETUP_IN_FLIGHT]))
        began = time.monotonic()
        # From below, as a network would do it.
        zk._transport._transport.abort()
        await zk.wait_for(State.SUSPENDED)
        await zk.wait_for(State.CONNECTED)
        await zk.exists(PATH)
        return time.monotonic() - began


if __name__ == "__main__":
    main()
