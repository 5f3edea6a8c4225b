"""The monitor's values for Prometheus, under ZooKeeper's names without a prefix."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric, SummaryMetricFamily, UnknownMetricFamily
from prometheus_client.registry import Collector

from corral.replica.metrics import Percentiles
from corral.server.admin.monitor import read
from corral.server.admin.status import Status

QUANTILES = (0.5, 0.9, 0.99)


class MonitorCollector(Collector):
    """Hands the values of the moment to Prometheus.

    Counters are given as untyped, and nothing else is: of a typed one the library would change the name, by a `_total`
    at its end, and what is drawn from ZooKeeper's names would find nothing. Exposition gives them their type.
    """

    def __init__(self, status: Status) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        """Yield every metric."""
        readings = read(self._status)
        for name, value in readings.gauges.items():
            yield GaugeMetricFamily(name, _help(name), value=value)
        for name, count in readings.counters.items():
            yield UnknownMetricFamily(name, _help(name), value=count)
        for name, members in readings.gauge_sets.items():
            yield _labelled(GaugeMetricFamily(name, _help(name), labels=["key"]), members)
        for name, members in readings.counter_sets.items():
            yield _labelled(UnknownMetricFamily(name, _help(name), labels=["key"]), members)
        for name, summary in readings.summaries.items():
            family = SummaryMetricFamily(name, _help(name))
            if isinstance(summary, Percentiles):
                for share in QUANTILES:
                    family.add_sample(name, {"quantile": str(share)}, summary.quantile(share))
            family.add_metric([], count_value=summary.count, sum_value=summary.sum)
            yield family


class Exposition:
    """The text that `/metrics` serves."""

    def __init__(self, status: Status, has_process: bool) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(MonitorCollector(status))
        if has_process:
            ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self._registry).replace(b" untyped\n", b" counter\n")


def _labelled(
    family: GaugeMetricFamily | UnknownMetricFamily, members: dict[str, int]
) -> GaugeMetricFamily | UnknownMetricFamily:
    for member, value in members.items():
        family.add_metric([member], value)
    return family


def _help(name: str) -> str:
    return name.replace("_", " ")
