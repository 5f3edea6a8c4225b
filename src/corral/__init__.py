"""Corral: ZooKeeper in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from corral.client.aio import AsyncClient as AsyncClient
    from corral.client.aio import connect as connect
    from corral.client.blocking import Client as Client

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Import the client when it is asked for: a server has no use for it."""
    if name in ("connect", "AsyncClient"):
        from corral.client.aio import AsyncClient

        return AsyncClient
    if name == "Client":
        from corral.client.blocking import Client

        return Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
