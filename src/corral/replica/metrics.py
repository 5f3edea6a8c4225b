"""What the server counts of itself, as plain integers that a collector reads.

Names are ZooKeeper's, as `mntr` prints them.
"""

from __future__ import annotations

from typing import Final

from corral.wire.opcodes import EVENT_CHILDREN_CHANGED, EVENT_CREATED, EVENT_DATA_CHANGED, EVENT_DELETED

_FIRED: Final = {
    EVENT_CREATED: "node_created_watch_count",
    EVENT_DELETED: "node_deleted_watch_count",
    EVENT_DATA_CHANGED: "node_changed_watch_count",
    EVENT_CHILDREN_CHANGED: "node_children_watch_count",
}


UNFOLDED_MAX: Final = 1000
"""How many different latencies and sizes may wait to be counted."""


class Summary:
    """Count, sum, least and greatest of a quantity since the last reset."""

    __slots__ = ("count", "max", "min", "sum")

    def __init__(self) -> None:
        self.count = 0
        self.sum = 0
        self.min = 0
        self.max = 0

    def add(self, value: int) -> None:
        """Count one value."""
        if not self.count or value < self.min:
            self.min = value
        if value > self.max:
            self.max = value
        self.count += 1
        self.sum += value

    def add_many(self, value: int, times: int) -> None:
        """Count the same value several times."""
        if times:
            self.add(value)
            self.count += times - 1
            self.sum += value * (times - 1)

    def reset(self) -> None:
        """Forget all."""
        self.count = 0
        self.sum = 0
        self.min = 0
        self.max = 0


class Percentiles(Summary):
    """A summary that also estimates quantiles, from a histogram of powers of two, each in eight steps."""

    __slots__ = ("_steps",)

    def __init__(self) -> None:
        super().__init__()
        self._steps: dict[int, int] = {}

    def add(self, value: int) -> None:
        """Count one value."""
        super().add(value)
        step = _step(value)
        self._steps[step] = self._steps.get(step, 0) + 1

    def add_many(self, value: int, times: int) -> None:
        """Count the same value several times."""
        if times:
            Summary.add(self, value)
            self.count += times - 1
            self.sum += value * (times - 1)
            step = _step(value)
            self._steps[step] = self._steps.get(step, 0) + times

    def quantile(self, share: float) -> int:
        """Return a value that about `share` of the counted ones do not exceed."""
        wanted = share * self.count
        seen = 0
        for step in sorted(self._steps):
            seen += self._steps[step]
            if seen >= wanted:
                return min(_value(step), self.max)
        return self.max

    def reset(self) -> None:
        """Forget all."""
        super().reset()
        self._steps = {}


def _step(value: int) -> int:
    if value < 8:
        return max(0, value)
    bits = value.bit_length() - 4
    return (bits + 1) * 8 + (value >> bits) - 8


def _value(step: int) -> int:
    if step < 8:
        return step
    bits = step // 8 - 1
    return ((step % 8 + 9) << bits) - 1


class Metrics:
    """All counters and summaries of one server.

    counters: by name. summaries: by name; latencies in ms. op_counts: requests by operation's code.
    reads_at_once: reads answered as they came, each a packet in and out; reads_waited: those that waited for a write.
    other_received, other_sent: all other packets. write_latencies, reply_sizes: of how many writes, and replies, each
    was since the last `fold`.
    response_bytes and the response sizes: of all replies, that to a ConnectRequest too, without the four bytes of their
    length; events are no replies.
    """

    def __init__(self) -> None:
        self.counters: dict[str, int] = {}
        self.summaries: dict[str, Summary] = {}
        self.op_counts: dict[int, int] = {}
        self.latency = Summary()
        self.read_latency = self.percentiles("readlatency")
        self.update_latency = self.percentiles("updatelatency")
        for name in _FIRED.values():
            self.summary(name)
        self.other_received = 0
        self.other_sent = 0
        self.bytes_received = 0
        self._response_bytes = 0
        self.last_response_size = -1
        self.min_response_size = -1
        self.max_response_size = -1
        self.auth_failed = 0
        self.reads_at_once = 0
        self.reads_waited = 0
        self.write_latencies: dict[int, int] = {}
        self.reply_sizes: dict[int, int] = {}
        self._reads_folded = 0

    @property
    def packets_received(self) -> int:
        """How many packets came in."""
        return self.other_received + self.reads_at_once

    @property
    def packets_sent(self) -> int:
        """How many packets went out."""
        return self.other_sent + self.reads_at_once

    @property
    def response_bytes(self) -> int:
        """How many bytes the replies had."""
        return self._response_bytes + sum(size * times for size, times in self.reply_sizes.items())

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter."""
        self.counters[name] = self.counters.get(name, 0) + by

    def summary(self, name: str) -> Summary:
        """Return the summary of a name, made at its first use."""
        found = self.summaries.get(name)
        if found is None:
            found = self.summaries[name] = Summary()
        return found

    def percentiles(self, name: str) -> Percentiles:
        """Return the summary with quantiles of a name, made at its first use."""
        found = self.summaries.get(name)
        if not isinstance(found, Percentiles):
            found = self.summaries[name] = Percentiles()
        return found

    def watch_fired(self, kind: int, watchers: int) -> None:
        """Count an event and how many watchers it has."""
        self.summaries[_FIRED[kind]].add(watchers)

    def response_sized(self, size: int) -> None:
        """Note the size of a reply in bytes, without the four that give its length."""
        self._response_bytes += size
        self.last_response_size = size
        if size > self.max_response_size:
            self.max_response_size = size
        if size < self.min_response_size or self.min_response_size < 0:
            self.min_response_size = size

    def responses_sized(self, last: int, least: int, most: int, total: int) -> None:
        """Note the sizes of several replies, in bytes: of the last, the smallest, the largest and all together."""
        self.response_sized(least)
        self.response_sized(most)
        self._response_bytes += total - least - most
        self.last_response_size = last

    def fold_if_many(self) -> None:
        """Keep small what was not folded yet."""
        if len(self.reply_sizes) + len(self.write_latencies) > UNFOLDED_MAX:
            self.fold()

    def fold(self) -> None:
        """Count the reads since the last call, all with a latency of 0, and the writes into the latencies and sizes."""
        for latency, times in self.write_latencies.items():
            self.update_latency.add_many(latency, times)
            self.latency.add_many(latency, times)
        self.write_latencies.clear()
        if self.reply_sizes:
            sizes, last = self.reply_sizes, self.last_response_size
            total = sum(size * times for size, times in sizes.items())
            self.responses_sized(last, min(sizes), max(sizes), total)
            sizes.clear()
        reads = self.reads_at_once + self.reads_waited
        if reads != self._reads_folded:
            self.latency.add_many(0, reads - self._reads_folded)
            self.read_latency.add_many(0, reads - self._reads_folded)
            self._reads_folded = reads

    def reset(self) -> None:
        """Forget all but the gauges, as `srst` does."""
        self.counters.clear()
        self.op_counts.clear()
        for summary in self.summaries.values():
            summary.reset()
        self.latency.reset()
        self.write_latencies.clear()
        self.reply_sizes.clear()
        self.other_received = self.other_sent = self.bytes_received = self._response_bytes = 0
        self.reads_at_once = self.reads_waited = self._reads_folded = 0
        self.last_response_size = self.min_response_size = self.max_response_size = -1
