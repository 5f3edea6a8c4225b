"""Recipes: locks, elections, counters, caches and the like, built on the client.

Every recipe is made as `Recipe(zk, path, ...)`. One call has one total `timeout` in seconds. What is held knows whether
it still is: see `corral.recipes.held`. Names are imported when they are asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from corral.recipes.atomic import AtomicNumber as AtomicNumber
    from corral.recipes.barrier import Barrier as Barrier
    from corral.recipes.children_cache import ChildrenCache as ChildrenCache
    from corral.recipes.counter import Counter as Counter
    from corral.recipes.cron import Cron as Cron
    from corral.recipes.cron import Every as Every
    from corral.recipes.discovery import Discovery as Discovery
    from corral.recipes.discovery import ServiceProvider as ServiceProvider
    from corral.recipes.double_barrier import DoubleBarrier as DoubleBarrier
    from corral.recipes.election import Election as Election
    from corral.recipes.election import Latch as Latch
    from corral.recipes.errors import HoldLost as HoldLost
    from corral.recipes.errors import NotHeld as NotHeld
    from corral.recipes.errors import RecipeError as RecipeError
    from corral.recipes.errors import RecipeTimeout as RecipeTimeout
    from corral.recipes.held import Held as Held
    from corral.recipes.held import HoldState as HoldState
    from corral.recipes.job import Job as Job
    from corral.recipes.lease import NonBlockingLease as NonBlockingLease
    from corral.recipes.lock import Lock as Lock
    from corral.recipes.migrations import Migration as Migration
    from corral.recipes.migrations import Migrations as Migrations
    from corral.recipes.models import ModelCache as ModelCache
    from corral.recipes.models import Models as Models
    from corral.recipes.multilock import MultiLock as MultiLock
    from corral.recipes.node_cache import NodeCache as NodeCache
    from corral.recipes.partitioner import Partitioner as Partitioner
    from corral.recipes.party import Party as Party
    from corral.recipes.persistent_node import PersistentNode as PersistentNode
    from corral.recipes.queue import Queue as Queue
    from corral.recipes.registration import Registration as Registration
    from corral.recipes.rwlock import ReadWriteLock as ReadWriteLock
    from corral.recipes.schedule import Schedule as Schedule
    from corral.recipes.semaphore import Semaphore as Semaphore
    from corral.recipes.service_instance import ServiceInstance as ServiceInstance
    from corral.recipes.shared_value import SharedValue as SharedValue
    from corral.recipes.tree_cache import TreeCache as TreeCache

_MODULES: Final = {
    "AtomicNumber": "atomic",
    "Barrier": "barrier",
    "ChildrenCache": "children_cache",
    "Counter": "counter",
    "Cron": "cron",
    "Discovery": "discovery",
    "DoubleBarrier": "double_barrier",
    "Election": "election",
    "Every": "cron",
    "Held": "held",
    "HoldLost": "errors",
    "HoldState": "held",
    "Job": "job",
    "Latch": "election",
    "Lock": "lock",
    "Migration": "migrations",
    "Migrations": "migrations",
    "ModelCache": "models",
    "Models": "models",
    "MultiLock": "multilock",
    "NodeCache": "node_cache",
    "NonBlockingLease": "lease",
    "NotHeld": "errors",
    "Partitioner": "partitioner",
    "Party": "party",
    "PersistentNode": "persistent_node",
    "Queue": "queue",
    "ReadWriteLock": "rwlock",
    "RecipeError": "errors",
    "RecipeTimeout": "errors",
    "Registration": "registration",
    "Schedule": "schedule",
    "Semaphore": "semaphore",
    "ServiceInstance": "service_instance",
    "ServiceProvider": "discovery",
    "SharedValue": "shared_value",
    "TreeCache": "tree_cache",
}


def __getattr__(name: str) -> object:
    """Import a recipe from its module."""
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"corral.recipes.{module}"), name)
