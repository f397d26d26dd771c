from __future__ import annotations

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from http_base.families import counter_by, counters, gauge_by, gauges, histogram
from http_base.histogram import Histogram


def read(*families):
    """Return (name, values of the labels) -> value, as whoever reads the text finds it."""

    class Page:
        def collect(self):
            yield from families

    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(generate_latest(Page()).decode())
        for sample in family.samples
    }


def test_figures_have_the_names_that_prometheus_wants():
    assert read(*gauges("queue", ("held_bytes", "Held", 7)), *counters("queue", ("x", "X", 8))) == {
        ("queue_held_bytes",): 7,
        ("queue_x_total",): 8,
    }
    by = gauge_by("queue_by", "By", "topic", {"b": 2, "a": 1})
    more = counter_by("queue_more", "More", "kind", {"k": 3})
    assert read(by, more) == {
        ("queue_by", "a"): 1,
        ("queue_by", "b"): 2,
        ("queue_more_total", "k"): 3,
    }


def test_a_histogram_is_read_as_it_was_counted():
    times = Histogram((0.001, 1.0))
    times.add(0.5)
    assert read(histogram("queue_test_seconds", "Seconds", times)) == {
        ("queue_test_seconds_bucket", "0.001"): 0,
        ("queue_test_seconds_bucket", "1.0"): 1,
        ("queue_test_seconds_bucket", "+Inf"): 1,
        ("queue_test_seconds_count",): 1,
        ("queue_test_seconds_sum",): 0.5,
    }
