"""Metrics of one moment, made when `GET /metrics` asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from prometheus_client.core import Metric

    from http_base.histogram import Histogram

    Figure = tuple[str, str, float]
    """Name of a metric, what it is, its value."""


def gauges(prefix: str, *figures: Figure) -> Iterator[Metric]:
    """Yield a metric for each figure, which may rise and fall."""
    for name, text, value in figures:
        yield GaugeMetricFamily(f"{prefix}_{name}", text, value=value)


def counters(prefix: str, *figures: Figure) -> Iterator[Metric]:
    """Yield a metric for each figure, which only grows; `_total` is put to its name."""
    for name, text, value in figures:
        yield CounterMetricFamily(f"{prefix}_{name}", text, value=value)


def gauge_by(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    """Return a metric of a figure by the value of a label."""
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in sorted(values.items()):
        family.add_metric([key], value)
    return family


def counter_by(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    """Return a metric of what only grows by the value of a label."""
    family = CounterMetricFamily(name, text, labels=[label])
    for key, value in sorted(values.items()):
        family.add_metric([key], value)
    return family


def histogram(name: str, text: str, counted: Histogram) -> Metric:
    """Return a metric of one histogram."""
    return histogram_by(name, text, [], [((), counted)])


def histogram_by(
    name: str,
    text: str,
    labels: Sequence[str],
    counted: Iterable[tuple[Sequence[str], Histogram]],
) -> Metric:
    """Return a metric of histograms by the values of labels.

    Args:
        name: of the metric, which ends with its unit.
        text: what it is.
        labels: their names.
        counted: the values of the labels, and what has them.
    """
    family = HistogramMetricFamily(name, text, labels=labels)
    for values, one in counted:
        family.add_metric(values, one.buckets(), one.sum)
    return family
