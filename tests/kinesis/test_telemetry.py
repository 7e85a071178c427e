from __future__ import annotations

import json
from copy import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from model_service.kinesis.accounting import BatchReport
from model_service.scoring import Target
from model_service.stream import processor
from model_service.stream.predictions import Prediction

from ..support.factories import (
    FakeModel,
    MemoryPublisher,
    MemoryRejects,
    batch_line,
    kinesis_event,
    payload,
)


def report(*payloads: bytes | str, refuse: frozenset[str] = frozenset()) -> BatchReport[Prediction]:
    return processor.process(
        kinesis_event(*payloads),
        model=FakeModel(),
        target=Target(),
        publish=MemoryPublisher(refuse=refuse),
        keep=MemoryRejects(),
        time_left=lambda: 60.0,
    )


def logged(what: BatchReport[Prediction], cold_start: bool = False) -> dict[str, Any]:
    line = batch_line(what, cold_start=cold_start)
    assert "\n" not in line
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_line_counts_every_fate() -> None:
    line = logged(report(payload(1), b"{}", payload(3), refuse=frozenset({"3"})), cold_start=True)

    counts = ("received", "published", "rejected", "to_retry", "publish_retries", "cold_start")
    assert [line[name] for name in counts] == [[3], [1], [1], [1], [0], [1]]


def test_metrics_have_both_sets_of_dimensions() -> None:
    line = logged(report(payload(1)))

    [directive] = line["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "RidePredictions"
    assert [sorted(names) for names in directive["Dimensions"]] == [
        ["model", "service"],
        ["model", "service", "version"],
    ]
    assert line["model"] == "ride_duration_prediction_model"
    assert (line["service"], line["version"]) == ("ride-predictions", "Test123")


@given(st.lists(st.sampled_from([payload(1), b"{}", "!"]), max_size=120))
def test_every_metric_that_is_declared_has_values_and_few(payloads: list[bytes | str]) -> None:
    what = report(*payloads)

    line = logged(what)

    for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]:
        assert 1 <= len(line[metric["Name"]]) < 100
    assert abs(line["_aws"]["Timestamp"] - what.published_at.timestamp() * 1000) <= 1


def test_predictions_are_summed_up() -> None:
    line = logged(report(*(payload(n, trip_distance=float(n)) for n in (1, 2, 6))))

    summary = ("prediction_min", "prediction_mean", "prediction_max")
    assert [line[name] for name in summary] == [[7.0], [17.0], [32.0]]


def test_latency_is_from_arrival_to_published() -> None:
    what = report(payload(1))

    [latency] = what.latencies_ms
    arrived = what.published[0].source.arrived_at
    assert latency == (what.published_at - arrived).total_seconds() * 1000
    assert logged(replace(what, latencies_ms=(2000.0,)))["latency_ms"] == [2000.0]


def test_times_are_told_apart() -> None:
    what = replace(report(payload(1)), model_ms=1.5, publish_ms=20.5, publish_retries=7)

    line = logged(what)

    assert (line["model_ms"], line["publish_ms"]) == ([1.5], [20.5])
    assert line["publish_retries"] == [7]
    units = {m["Name"]: m["Unit"] for m in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]}
    assert {units[name] for name in ("model_ms", "publish_ms", "latency_ms")} == {"Milliseconds"}


def test_a_sample_of_latencies_has_the_shortest_and_the_longest() -> None:
    latencies = tuple(float((n * 7919) % 300) for n in range(300))

    sample = logged(replace(report(payload(1)), latencies_ms=latencies))["latency_ms"]

    assert len(sample) == 50
    assert (min(sample), max(sample)) == (0.0, 299.0)


def test_the_most_frequent_reasons_are_the_ones_that_stay() -> None:
    rare = [b'{"ride_id": 1, "ride": {"PULocationID": %s}}' % (b"[" * n) for n in range(30)]

    line = logged(report(b"{}", b"{}", b"{}", *rare))

    assert max(line["reasons"].values()) >= 3


def test_predictions_of_any_size_make_a_line() -> None:
    what = report(payload(1), payload(2))
    huge = tuple(replace(prediction, value=1.7e308) for prediction in what.published)

    assert logged(replace(what, published=huge))["published"] == [2]


def test_reasons_are_counted_without_what_makes_each_one_new() -> None:
    line = logged(report(b"{x", b"{ x", b"{  x", b"{}"))

    assert sorted(line["reasons"].values()) == [1, 3]


def test_no_value_of_a_customer_is_in_the_line() -> None:
    line = batch_line(
        report(payload("secret-ride"), payload(1, PULocationID="secret-zone"), b"secret-bytes")
    )

    assert "secret" not in line


def test_reasons_that_differ_do_not_make_a_line_without_end() -> None:
    line = logged(report(*(b'{"ride": {"%s": ' % (b"x" * n) for n in range(200))))

    assert len(line["reasons"]) <= 20


def test_times_in_unknown_fields_are_counted() -> None:
    ignored = payload(1, lpep_pickup_datetime="2021-03-01 08:15:00")

    line = logged(report(ignored, payload(2), payload(3, pickup_datetime="2021-03-01T08:15Z")))

    assert line["published"] == [3]
    assert line["ignored_pickup_times"] == [1]
