"""Prometheus' text format, read back by its own rules."""

import re

import pytest

from auricle.serve.metrics import Counter, Gauge, Histogram, Metrics

SAMPLE = re.compile(r'^[a-z_]+(\{([a-z]+="(\\.|[^"\\])*",?)+\})? -?[0-9.e+-]+(inf|nan)?$')


def test_a_counter_adds_up_per_label_and_escapes() -> None:
    counter = Counter("hits_total", "Hits.", ("route", "status"))
    counter.add(1, "/a", "200")
    counter.add(2.5, "/a", "200")
    counter.add(1, 'q"\\\n', "404")
    assert list(counter.lines()) == [
        'hits_total{route="/a",status="200"} 3.5',
        r'hits_total{route="q\"\\\n",status="404"} 1',
    ]
    assert counter.value("/a", "200") == 3.5


def test_a_counter_without_labels_is_there_from_the_start() -> None:
    assert list(Counter("hits_total", "Hits.").lines()) == ["hits_total 0"]


def test_buckets_are_cumulative_and_hold_their_bound() -> None:
    histogram = Histogram("took_seconds", "Took.", (0.1, 1.0), ("route",))
    for value in (0.05, 0.1, 0.5, 7.0):
        histogram.observe(value, "/a")
    assert list(histogram.lines()) == [
        'took_seconds_bucket{route="/a",le="0.1"} 2',
        'took_seconds_bucket{route="/a",le="1.0"} 3',
        'took_seconds_bucket{route="/a",le="+Inf"} 4',
        'took_seconds_sum{route="/a"} 7.65',
        'took_seconds_count{route="/a"} 4',
    ]


def test_everything_written_can_be_read() -> None:
    metrics = Metrics()
    metrics.requests.add(1, "/x", "200")
    metrics.seconds.observe(0.2, "/x")
    metrics.batches.observe(3)
    metrics.gauges.append(Gauge("waiting", "Waiting.", lambda: 4))
    lines = metrics.write().splitlines()
    assert "waiting 4" in lines
    kinds = dict(line.split(" ")[2:4] for line in lines if line.startswith("# TYPE"))
    assert kinds["auricle_in_hand"] == "gauge"
    assert kinds["auricle_request_seconds"] == "histogram"
    for line in lines:
        if not line.startswith("#"):
            assert SAMPLE.match(line), line
            name = re.sub(r"(_bucket|_sum|_count)?(\{.*)? .*", "", line)
            assert name in kinds or line.split("{")[0].split(" ")[0] in kinds
    memory = next(line for line in lines if line.startswith("process_resident_memory_bytes "))
    assert float(memory.split()[1]) == 0 or float(memory.split()[1]) > 10e6


@pytest.mark.parametrize("amount", [1, -1])
def test_a_gauge_goes_both_ways(amount: int) -> None:
    gauge = Counter("now", "Now.", kind="gauge")
    gauge.add(amount)
    assert gauge.value() == amount
