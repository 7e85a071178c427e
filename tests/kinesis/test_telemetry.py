from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from copy import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_service import emf
from model_service.kinesis.accounting import BatchReport
from model_service.kinesis.invocation import Invocation
from model_service.scoring import Target
from model_service.stream import processor
from model_service.stream.predictions import Prediction

from ..support.factories import (
    INVOCATION,
    FakeModel,
    MemoryPublisher,
    MemoryRejects,
    batch_line,
    kinesis_event,
    payload,
    sequence_number,
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


def logged(what: BatchReport[Prediction], invocation: Invocation = INVOCATION) -> dict[str, Any]:
    line = batch_line(what, invocation)
    assert "\n" not in line
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_line_counts_every_fate() -> None:
    line = logged(
        report(payload(1), b"{}", payload(3), refuse=frozenset({"3"})), Invocation(cold_start=True)
    )

    counts = ("received", "published", "rejected", "to_retry", "publish_retries", "cold_start")
    assert [line[name] for name in counts] == [[3], [1], [1], [1], [0], [1]]


def test_metrics_have_both_sets_of_dimensions() -> None:
    line = logged(report(payload(1)))

    [directive, by_version] = line["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == by_version["Namespace"] == "RidePredictions"
    assert by_version["Metrics"] == [{"Name": "prediction_mean", "Unit": "None"}]
    assert by_version["Dimensions"] == [["service", "model", "function_version"]]
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
        assert 1 <= len(line[metric["Name"]]) <= 100
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


@given(st.integers(101, 2000), st.integers(0, 2**32))
def test_percentiles_of_the_latency_sample_are_those_of_the_rides(rides: int, seed: int) -> None:
    random = Random(seed)
    latencies = [random.lognormvariate(6, 2) for _ in range(rides)]
    what = replace(report(payload(1)), latencies_ms=tuple(latencies))

    sample = logged(what)["latency_ms"]

    assert len(sample) == 100
    for percent in (50, 90, 99):
        assert nearest_rank(sample, percent) == pytest.approx(
            nearest_rank(latencies, percent), rel=5e-4
        )
    assert max(sample) <= nearest_rank(latencies, 99.5) * 1.0005


def nearest_rank(values: Sequence[float], percent: float) -> float:
    return sorted(values)[math.ceil(percent * len(values) / 100) - 1]


def test_one_slow_ride_of_a_thousand_is_not_the_99th_percentile() -> None:
    latencies = (*range(577, 1576), 16_000)

    sample = logged(replace(report(payload(1)), latencies_ms=latencies))["latency_ms"]

    assert nearest_rank(sample, 99) == nearest_rank(latencies, 99) == 1566
    assert max(sample) < 16_000


def test_every_latency_of_a_small_batch_is_in_the_line() -> None:
    latencies = tuple(float(n) for n in range(100))

    assert logged(replace(report(payload(1)), latencies_ms=latencies))["latency_ms"] == [
        *range(100)
    ]


def test_numbers_have_four_digits_and_counts_are_exact() -> None:
    what = replace(
        report(payload(1)),
        latencies_ms=(137_497.261,),
        model_ms=0.0512345,
        publish_ms=21.29874,
        publish_retries=123_457,
    )

    line = logged(what)

    assert (line["latency_ms"], line["model_ms"], line["publish_ms"]) == (
        [137_500],
        [0.05123],
        [21.3],
    )
    assert line["publish_retries"] == [123_457]


def test_a_line_says_which_records_of_which_invocation_it_is_about() -> None:
    event = kinesis_event(payload(1), payload(2), b"{}", payload(4))

    line = logged(
        report(payload(1), payload(2), b"{}", payload(4), refuse=frozenset({"2"})),
        Invocation("8f507cfc", "7"),
    )

    assert (line["request_id"], line["function_version"]) == ("8f507cfc", "7")
    assert (line["stream"], line["shard"]) == ("ride_events", "shardId-000000000000")
    assert line["first_sequence_number"] == sequence_number(event, 0)
    assert line["last_sequence_number"] == sequence_number(event, 3)
    assert line["checkpoint"] == sequence_number(event, 1)
    assert line["rejections"] == []
    assert logged(report(payload(1)))["checkpoint"] is None


def test_an_empty_batch_makes_a_line() -> None:
    line = logged(report())

    assert (line["shard"], line["received"], "latency_ms" in line) == ("", [0], False)


def fields(node: Any) -> int:
    """The number of fields that Logs Insights finds in a line."""
    if isinstance(node, dict | list):
        return sum(fields(item) for item in (node.values() if isinstance(node, dict) else node))
    return 1


def test_a_line_never_has_more_fields_than_logs_insights_finds() -> None:
    bad = [b'{"ride_id": 1, "ride": {"PULocationID": %s}}' % (b"[" * n) for n in range(30)]
    what = report(
        *(payload(n) for n in range(300)),
        *bad,
        *(b'{"ride": {"%s": ' % (b"x" * n) for n in range(200)),
    )
    many = {f"Reason{n}": n + 1 for n in range(40)}

    line = logged(replace(what, retry_reasons=many))

    assert len(line["latency_ms"]) == 100
    assert len(line["retry_reasons"]) == emf.MAX_REASONS
    assert fields(line) <= emf.MAX_FIELDS


def test_predictions_of_any_size_make_a_line() -> None:
    what = report(payload(1), payload(2))
    huge = tuple(replace(prediction, value=1.7e308) for prediction in what.published)

    assert logged(replace(what, published=huge))["published"] == [2]


def test_reasons_are_counted_without_what_makes_each_one_new() -> None:
    line = logged(report(b"{x", b"{ x", b"{  x", b"{}"))

    assert [one["rides"] for one in line["rejections"]] == [3, 1]


def test_no_value_of_a_customer_is_in_the_line() -> None:
    line = batch_line(
        report(payload("secret-ride"), payload(1, PULocationID="secret-zone"), b"secret-bytes")
    )

    assert "secret" not in line


@given(st.dictionaries(st.text(min_size=1), st.integers(1, 1000), max_size=40))
def test_a_list_of_reasons_is_short_and_counts_every_ride(counts: dict[str, int]) -> None:
    listed = emf.rejections(counts)

    assert len(listed) <= 10
    assert sum(one["rides"] for one in listed) == sum(counts.values())
    if counts:
        assert listed[0]["rides"] == max(counts.values())


def test_times_in_unknown_fields_are_counted() -> None:
    ignored = payload(1, lpep_pickup_datetime="2021-03-01 08:15:00")

    line = logged(report(ignored, payload(2), payload(3, pickup_datetime="2021-03-01T08:15Z")))

    assert line["published"] == [3]
    assert line["ignored_pickup_times"] == [1]


def test_every_field_of_the_line_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs/architecture.md").read_text()
    section = page.partition("## Telemetry\n")[2].partition("\n## ")[0]
    names = re.findall(r"^\|(.*?)\|", section, re.MULTILINE)

    documented = {name for cell in names for name in re.findall(r"`(\w+)`", cell)}

    assert documented == logged(report(payload(1))).keys() - {"_aws"}


def test_the_runbook_quotes_the_lines_as_they_are_written() -> None:
    page = (Path(__file__).parents[2] / "docs/runbook.md").read_text()
    quoted = re.findall(r"^\| .* \| `(\"\w+\":.*?)` \|$", page, re.MULTILINE)
    outside = report(*(payload(n, trip_distance=900.0) for n in range(3)))
    written = [
        batch_line(outside),
        batch_line(replace(outside, retry_reasons={"ResourceNotFoundException": 1})),
        batch_line(replace(outside, retry_reasons={"ProvisionedThroughputExceededException": 12})),
        batch_line(replace(report(payload(1)), latencies_ms=(13_880.2,))),
    ]

    assert len(quoted) == len(written)
    for fragment, line in zip(quoted, written, strict=True):
        assert fragment in line
