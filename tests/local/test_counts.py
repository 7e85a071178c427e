"""Counts include only records that arrived on the stream, and every kind of loss is reported."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local.demo.counts import StreamCounts, count, faults, summary
from local.messages import Message
from local.run_stream import Published

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SENT = {
    "s:1": Message("1", b""),
    "s:2": Message("2", b""),
    "s:3": Message("x", b"", "empty record"),
}


def after(milliseconds: int) -> datetime:
    return NOON + timedelta(milliseconds=milliseconds)


def published(
    ride_id: object, event_id: str, milliseconds: int, minutes: float = 10.0
) -> Published:
    event = {
        "model": "m",
        "version": "v",
        "prediction": {"ride_duration": minutes, "ride_id": ride_id},
        "source": {"event_id": event_id},
    }
    return Published(event, after(milliseconds))


def counted(**changes: Any) -> StreamCounts:
    values: dict[str, Any] = {
        "sent": SENT,
        "arrived": {"s:1": after(0), "s:2": after(100), "s:3": after(200)},
        "published": [published(1, "s:1", 50), published(2, "s:2", 300)],
        "rejected": {"s:3": "Input data was truncated"},
        "true": {"1": 13.0, "2": 6.0},
    }
    return count(**(values | changes))


def test_a_run_with_correct_counts_has_no_faults() -> None:
    counts = counted()

    assert (counts.rides_sent, counts.rides_predicted) == (2, 2)
    assert (counts.bad_records_sent, counts.rejected) == (1, 1)
    assert faults(counts) == []
    assert counts.reasons == {("empty record", "Input data was truncated"): 1}


def test_latency_and_rate_come_from_the_arrival_times_on_the_streams() -> None:
    figures = summary(counted(), rmse=4.4812, flavour="onnx", source="tlc")

    assert figures["latency_ms"] == {"p50": 125.0, "p99": 198.5}
    assert figures["rides_per_second"] == pytest.approx(2 / 0.3, abs=1e-3)
    assert figures["rmse_minutes_streamed"] == 3.536
    assert figures["rmse_minutes"] == 4.481


def test_a_second_prediction_is_a_duplicate_and_the_first_one_counts() -> None:
    again = published(1, "s:1", 900)

    counts = counted(published=[published(1, "s:1", 50), published(2, "s:2", 300), again])

    assert counts.duplicates == 1
    assert counts.rides_predicted == 2
    assert [ride.latency_ms for ride in counts.rides] == [50.0, 200.0]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"published": [published(1, "s:1", 50)]}, "1 record was lost."),
        ({"rejected": {}}, "0 records were rejected, 1 was broken."),
        ({"rejected": {"s:2": "", "s:3": ""}, "published": [published(1, "s:1", 50)]},
         "1 of 2 rides was predicted."),
        ({"published": [published(1, "s:1", 50), published(1, "s:2", 50)]},
         "1 result was unexpected."),
        ({"published": [published(n, f"s:{n}", 50) for n in (1, 2, 7)]},
         "1 result was unexpected."),
    ],
)  # fmt: skip
def test_each_wrong_count_is_reported(changes: dict[str, Any], sentence: str) -> None:
    assert sentence in faults(counted(**changes))


def test_a_record_that_never_reached_the_stream_is_lost() -> None:
    counts = counted(sent=SENT | {"s:9": Message("9", b"")})

    assert counts.lost == 1
    assert counts.rides_sent == 2


def test_an_empty_run_has_no_latency_and_no_rate() -> None:
    empty: dict[str, Any] = {}
    counts = counted(sent=empty, arrived=empty, published=[], rejected=empty)

    figures = summary(counts, rmse=1.0, flavour="onnx", source="tlc")

    assert figures["rides_per_second"] is None
    assert figures["latency_ms"] == {"p50": None, "p99": None}
