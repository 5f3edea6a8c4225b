"""What a client's observers make of its requests."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from corral.base.errors import NoNode
from corral.client.telemetry import Observers, PrometheusObserver, TracingObserver, operation
from corral.client.values import State
from corral.wire import opcodes


class Span:
    """Remembers what is said of it, as an OpenTelemetry span would."""

    def __init__(self, name: str, attributes: dict[str, Any]) -> None:
        self.name = name
        self.attributes = attributes
        self.errors: list[Any] = []
        self.has_ended = False

    def set_attribute(self, name: str, value: Any) -> None:
        self.attributes[name] = value

    def record_exception(self, error: BaseException) -> None:
        self.errors.append(error)

    def end(self) -> None:
        self.has_ended = True


class Tracer:
    def __init__(self) -> None:
        self.spans: list[Span] = []

    def start_span(self, name: str, attributes: dict[str, Any]) -> Span:
        self.spans.append(Span(name, attributes))
        return self.spans[-1]


def ask(observer: Any, *answers: Any) -> None:
    """Show an observer requests with these answers: a value, an error, or None for one that is cancelled."""

    async def run() -> None:
        for answer in answers:
            future = asyncio.get_running_loop().create_future()
            observer.asked(opcodes.GET_DATA, "/a", 20, future)
            if answer is None:
                future.cancel()
            elif isinstance(answer, Exception):
                future.set_exception(answer)
                future.exception()
            else:
                future.set_result(answer)
            await asyncio.sleep(0)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("code", "name"),
    [(opcodes.GET_DATA, "getData"), (opcodes.CREATE2, "create2"), (opcodes.CREATE_TTL, "createTtl"),
     (opcodes.GET_ALL_CHILDREN_NUMBER, "getAllChildrenNumber"), (opcodes.SET_DATA, "setData"), (4711, "4711")],
)  # fmt: skip
def test_operations_have_the_names_of_the_protocol(code: int, name: str) -> None:
    assert operation(code) == name


def test_requests_are_counted_by_operation_and_outcome() -> None:
    registry = CollectorRegistry()
    observer = PrometheusObserver("mine", registry)

    ask(observer, b"1", b"2", NoNode("/a"), None)
    observer.changed(State.SUSPENDED)

    def count(outcome: str) -> float | None:
        labels = {"client": "mine", "operation": "getData", "outcome": outcome}
        return registry.get_sample_value("corral_client_requests_total", labels)

    assert [count(outcome) for outcome in ("ok", "NoNode", "cancelled")] == [2, 1, 1]
    labels = {"client": "mine", "operation": "getData"}
    assert registry.get_sample_value("corral_client_request_seconds_count", labels) == 4
    assert registry.get_sample_value("corral_client_request_bytes_total", {"client": "mine"}) == 80
    state = {"client": "mine", "corral_client_state": "SUSPENDED"}
    assert registry.get_sample_value("corral_client_state", state) == 1


def test_clients_are_told_apart_in_one_registry() -> None:
    registry = CollectorRegistry()
    for name in ("one", "two", "two"):
        PrometheusObserver(name, registry).changed(State.CONNECTED)

    counts = [
        registry.get_sample_value("corral_client_state_changes_total", {"client": name, "state": "CONNECTED"})
        for name in ("one", "two")
    ]
    assert counts == [1, 2]


def test_each_request_is_a_span_that_ends_with_its_answer() -> None:
    tracer, other = Tracer(), Tracer()

    ask(Observers([TracingObserver(tracer), TracingObserver(other)]), b"1", NoNode("/a"))

    assert [span.name for span in tracer.spans] == ["zookeeper getData"] * 2
    assert [span.attributes["zookeeper.outcome"] for span in tracer.spans] == ["ok", "NoNode"]
    assert [len(span.errors) for span in tracer.spans] == [0, 1]
    assert all(span.has_ended for span in tracer.spans + other.spans)
    assert tracer.spans[0].attributes["zookeeper.path"] == "/a"
