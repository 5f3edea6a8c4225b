"""What a client does, for Prometheus and OpenTelemetry: observers to hand to `corral.connect(observer=...)`.

They cost nothing where there is none. Metrics count by operation; paths are no labels, as there is no end to them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, ClassVar, Final
from weakref import WeakKeyDictionary

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Enum, Histogram

from corral.client.aio import Observer
from corral.client.values import State
from corral.wire import opcodes

BUCKETS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

_CAMEL: Final = {
    value: name[0].lower() + name.title().replace("_", "")[1:]
    for name, value in vars(opcodes).items()
    if isinstance(value, int) and name.isupper() and not name.startswith(("XID_", "EVENT_", "STATE_"))
    and name not in ("READ", "WRITE", "CREATE_PERM", "DELETE_PERM", "ADMIN", "ALL_PERMS", "NOTIFICATION")
}  # fmt: skip


def operation(op: int) -> str:
    """Return an opcode's name as ZooKeeper spells it, such as getData."""
    return _CAMEL.get(op, str(op))


def outcome(future: asyncio.Future[Any]) -> str:
    """Return what became of a request: ok, cancelled, or the error's name."""
    if future.cancelled():
        return "cancelled"
    error = future.exception()
    return "ok" if error is None else type(error).__name__


class Families:
    """The metrics of all observed clients, of which a registry takes one each."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "corral_client_requests", "Requests that were answered, or failed", ("client", "operation", "outcome"),
            registry=registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "corral_client_request_seconds", "From asking to the answer", ("client", "operation"),
            buckets=BUCKETS_S, registry=registry,
        )  # fmt: skip
        self.bytes = Counter("corral_client_request_bytes", "Bytes of requests", ("client",), registry=registry)
        self.changes = Counter(
            "corral_client_state_changes", "Changes of state", ("client", "state"), registry=registry
        )  # fmt: skip
        self.state = Enum(
            "corral_client_state", "The client's state", ("client",), states=[state.value for state in State],
            registry=registry,
        )  # fmt: skip


class PrometheusObserver:
    """Counts a client's requests, times them, and shows its state. name: the label that tells clients apart."""

    # A registry lives as long as its process, mostly, and is shared by whoever knows it; so are its families.
    _families: ClassVar[WeakKeyDictionary[CollectorRegistry, Families]] = WeakKeyDictionary()

    def __init__(self, name: str = "default", registry: CollectorRegistry = REGISTRY) -> None:
        self._name = name
        families = self._families.get(registry)
        if families is None:
            families = self._families[registry] = Families(registry)
        self._requests = families.requests
        self._seconds = families.seconds
        self._bytes = families.bytes
        self._changes = families.changes
        self._state = families.state

    def asked(self, op: int, path: str, size: int, future: asyncio.Future[Any]) -> None:
        """Time a request."""
        began = time.perf_counter()
        name = operation(op)
        self._bytes.labels(self._name).inc(size)

        def answered(done: asyncio.Future[Any]) -> None:
            self._seconds.labels(self._name, name).observe(time.perf_counter() - began)
            self._requests.labels(self._name, name, outcome(done)).inc()

        future.add_done_callback(answered)

    def changed(self, state: State) -> None:
        """Show a state."""
        self._state.labels(self._name).state(state.value)
        self._changes.labels(self._name, state.value).inc()


class TracingObserver:
    """Makes a span of each request. tracer: an OpenTelemetry tracer, `opentelemetry.trace.get_tracer(...)`."""

    def __init__(self, tracer: Any) -> None:
        self._tracer = tracer

    def asked(self, op: int, path: str, size: int, future: asyncio.Future[Any]) -> None:
        """Span a request, from now to its answer."""
        name = operation(op)
        span = self._tracer.start_span(
            f"zookeeper {name}",
            attributes={
                "db.system": "zookeeper",
                "db.operation": name,
                "zookeeper.path": path,
                "zookeeper.bytes": size,
            },
        )

        def answered(done: asyncio.Future[Any]) -> None:
            result = outcome(done)
            span.set_attribute("zookeeper.outcome", result)
            if result not in ("ok", "cancelled"):
                span.record_exception(done.exception())
            span.end()

        future.add_done_callback(answered)

    def changed(self, state: State) -> None:
        """Tell of a state in the span that is open, by whoever opened it."""


class Observers:
    """Several observers as one."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = list(observers)

    def asked(self, op: int, path: str, size: int, future: asyncio.Future[Any]) -> None:
        """Show it to all."""
        for each in self._observers:
            each.asked(op, path, size, future)

    def changed(self, state: State) -> None:
        """Show it to all."""
        for each in self._observers:
            each.changed(state)
