"""The two streams: their load, their shards, and what AWS charges for them."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from .design import Design, Mode, Workload
from .figures import Figures
from .prices import GB, HOURS_A_MONTH, KB, MB, SECONDS_A_MONTH, Prices, rounded_up

# Limits of a shard: Kinesis Data Streams Developer Guide, "Quotas and limits".
RECORDS = 1000  # written a second
WRITTEN = MB  # bytes a second
READ = 2 * MB  # bytes a second, all readers together
READS = 5  # GetRecords calls a second, all readers together
PUT_UNIT = 25 * KB

# Kinesis Data Streams Developer Guide, "Choose the right mode": a new on-demand stream takes 4 MB/s
# and later twice its highest load of 30 days.  AWS does not say how many shards this takes.
FIRST_SHARDS = 4
DOUBLE = 2


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream: its load at a number of rides a second."""

    name: str
    records: float
    """Records written a second."""
    record_bytes: float
    readers: int
    """The functions of this service that read it; other consumers are not counted."""

    @property
    def load(self) -> float:
        """The load in shards: 1 is as much as one shard takes."""
        size = self.records * self.record_bytes
        return max(self.records / RECORDS, size / WRITTEN, size * self.readers / READ)


def streams(rides: float, workload: Workload, design: Design, figures: Figures) -> list[Stream]:
    """Return the stream of rides and the stream of predictions, at *rides* a second."""
    return [
        Stream("rides", rides, workload.record_bytes, workload.models + design.archive.rides),
        Stream(
            "predictions",
            rides * workload.models,
            figures.prediction_bytes.value,
            int(design.archive.predictions),
        ),
    ]


def shards(workload: Workload, design: Design, figures: Figures) -> tuple[int, int]:
    """Return the shards of the stream of rides and of the stream of predictions, for the peak.

    Both provisioned streams have the same number, because the template has one parameter for both.
    """
    loads = [one.load for one in streams(workload.highest, workload, design, figures)]
    if design.mode is Mode.PROVISIONED:
        return (most := ceil(max(loads)), most)
    rides, predictions = (max(FIRST_SHARDS, ceil(DOUBLE * load)) for load in loads)
    return rides, predictions


def charges(
    workload: Workload, design: Design, prices: Prices, figures: Figures
) -> dict[str, float]:
    """Return the dollars a month for both streams: item -> dollars."""
    both = streams(workload.rides_per_second, workload, design, figures)
    if design.mode is Mode.PROVISIONED:
        hours = sum(shards(workload, design, figures)) * HOURS_A_MONTH
        units = sum(one.records * rounded_up(one.record_bytes, PUT_UNIT) / PUT_UNIT for one in both)
        return {
            "Kinesis, shards": hours * prices.shard_hour.dollars,
            "Kinesis, written": units * SECONDS_A_MONTH / 1e6 * prices.put_unit.dollars,
        }
    written = sum(one.records * rounded_up(one.record_bytes, KB) for one in both)
    read = sum(
        one.records * one.readers * rounded_up(one.record_bytes, prices.read_rounding)
        for one in both
    )
    if design.mode is Mode.ADVANTAGE:
        written, read = max(written, prices.advantage_rate), max(read, prices.advantage_rate)
        hourly, ingest, retrieval = 0.0, prices.advantage_ingest, prices.advantage_retrieval
    else:
        hourly, ingest, retrieval = prices.stream_hour.dollars, prices.ingest, prices.retrieval
    return {
        "Kinesis, streams": len(both) * HOURS_A_MONTH * hourly,
        "Kinesis, written": written * SECONDS_A_MONTH / GB * ingest.dollars,
        "Kinesis, read": read * SECONDS_A_MONTH / GB * retrieval.dollars,
    }
