"""Calculates the shards, the concurrency, the latency and the monthly bill of a design."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from . import streams
from .batches import Batches, Work, batches
from .design import Design, Workload
from .figures import FIGURES, FULL_PROCESSOR_MB, Figures
from .prices import (
    GB,
    HOURS_A_MONTH,
    KB,
    MB,
    PRICES,
    SECONDS_A_MONTH,
    Prices,
    rounded_up,
    stored,
)
from .streams import Stream

PAYLOAD = 6 * MB  # bytes of an event at most: Lambda Developer Guide, "Lambda quotas"
PUBLISHED = 2000  # predictions in PutRecords calls at the same time: four calls of 500
ARCHIVE_BATCH, ARCHIVE_WINDOW, ARCHIVE_MB = 10_000, 300, 512  # records, seconds, MB: the template
FIREHOSE_UNIT = 5 * KB


@dataclass(frozen=True, slots=True)
class Estimate:
    """The result of the calculation for one design."""

    workload: Workload
    design: Design
    shards: int
    """The shards of the stream of rides."""
    prediction_shards: int
    concurrency: int
    """The largest number of Lambda executions at the same time."""
    rides_a_batch: float
    """The mean number of rides in a batch of the scorer."""
    latency_seconds: float
    """The longest time from a ride's arrival to its prediction, without faults.

    In quiet hours no batch fills up, so a ride waits for the whole batch window.
    """
    bill: Mapping[str, float]
    """Item -> dollars a month."""
    faults: tuple[str, ...]
    """Why the design cannot work at this load; empty if it can."""

    @property
    def dollars_a_month(self) -> float:
        return sum(self.bill.values())

    @property
    def dollars_a_million_rides(self) -> float:
        return self.dollars_a_month / (self.workload.rides_per_second * SECONDS_A_MONTH / 1e6)


def estimate(
    workload: Workload, design: Design, prices: Prices = PRICES, figures: Figures = FIGURES
) -> Estimate:
    """Return the estimate for *design* under *workload*."""
    of_rides, of_predictions = streams.shards(workload, design, figures)
    usual = scorer(workload.rides_per_second, workload, design, figures)
    busiest = scorer(workload.highest, workload, design, figures)
    archives = list(_archives(workload.rides_per_second, workload, design, figures))
    bill = streams.charges(workload, design, prices, figures)
    bill |= _lambda(usual, archives, workload, design, prices, figures)
    bill |= _archive(archives, workload, design, prices, figures)
    bill["alarms, metrics, dashboards, key, images"] = _fixed(workload, design, prices, figures)
    return Estimate(
        workload=workload,
        design=design,
        shards=of_rides,
        prediction_shards=of_predictions,
        concurrency=of_rides * design.parallelization * workload.models
        + sum(lanes for lanes, _, _ in archives),
        rides_a_batch=usual.records,
        latency_seconds=figures.poll_seconds.value + design.window_seconds + 2 * busiest.seconds,
        bill=bill,
        faults=tuple(_faults(busiest, workload, design, figures)),
    )


def scorer(rides: float, workload: Workload, design: Design, figures: Figures) -> Batches:
    """Return the batches of one lane of a scorer at *rides* a second in total."""
    lanes = streams.shards(workload, design, figures)[0] * design.parallelization
    return batches(
        rides / lanes,
        design.window_seconds,
        figures.poll_seconds.value,
        min(design.batch_size, _fitting(workload.record_bytes, figures)),
        _work(design, figures),
    )


def latency(rides: float, workload: Workload, design: Design, figures: Figures = FIGURES) -> float:
    """Return the longest seconds from a ride's arrival to its prediction at *rides* a second.

    A ride waits until Lambda reads the shard, until the batch is complete and the batch before it
    has been scored, and until it has been scored itself.
    """
    one = scorer(rides, workload, design, figures)
    return figures.poll_seconds.value + one.gathering + 2 * one.seconds


def _work(design: Design, figures: Figures) -> Work:
    publish = figures.publish_ms.value / 1000
    handler = figures.handler_ms.value / 1e6 / _processors(design.memory_mb)
    return Work(publish, handler + publish / PUBLISHED)


def _processors(memory_mb: int) -> float:
    """Return the processors that the code can use: at most one, because it has one thread."""
    return min(1.0, memory_mb / FULL_PROCESSOR_MB)


def _fitting(record_bytes: float, figures: Figures) -> float:
    """Return the number of records that fit into an event, with their data in base64."""
    return PAYLOAD / (figures.event_bytes.value + record_bytes * 4 / 3)


def _archives(
    rides: float, workload: Workload, design: Design, figures: Figures
) -> Iterator[tuple[int, Stream, Batches]]:
    """Yield each archive that is a function: its lanes, its stream, and the batches of a lane."""
    archived = (design.archive.rides, design.archive.predictions)
    both = streams.streams(rides, workload, design, figures)
    counts = streams.shards(workload, design, figures)
    work = Work(
        figures.store_ms.value / 1000,
        figures.archive_ms.value / 1e6 / _processors(ARCHIVE_MB),
    )
    for is_archived, stream, lanes in zip(archived, both, counts, strict=True):
        if is_archived and not design.firehose:
            most = min(ARCHIVE_BATCH, _fitting(stream.record_bytes, figures))
            rate = stream.records / lanes
            poll = figures.poll_seconds.value
            yield lanes, stream, batches(rate, ARCHIVE_WINDOW, poll, most, work)


def _lambda(
    usual: Batches,
    archives: list[tuple[int, Stream, Batches]],
    workload: Workload,
    design: Design,
    prices: Prices,
    figures: Figures,
) -> dict[str, float]:
    scored = _lanes(workload, usual) * usual.a_second * SECONDS_A_MONTH
    archived = sum(count * one.a_second for count, _, one in archives) * SECONDS_A_MONTH
    compute = scored * usual.seconds * design.memory_mb / 1024
    compute_archive = sum(
        count * one.a_second * SECONDS_A_MONTH * one.seconds * ARCHIVE_MB / 1024
        for count, _, one in archives
    )
    logs = (scored + archived) * figures.log_bytes.value / GB
    return {
        "Lambda, scorers": scored / 1e6 * prices.lambda_request.dollars
        + compute * prices.lambda_compute.dollars,
        "Lambda, archives": archived / 1e6 * prices.lambda_request.dollars
        + compute_archive * prices.lambda_compute.dollars,
        "logs": logs * (prices.logs.dollars + prices.logs_stored.dollars),
    }


def _lanes(workload: Workload, one: Batches) -> float:
    """Return the number of lanes of all scorers, of which each has the batches *one*."""
    return workload.models * workload.rides_per_second / one.rate


def _archive(
    archives: list[tuple[int, Stream, Batches]],
    workload: Workload,
    design: Design,
    prices: Prices,
    figures: Figures,
) -> dict[str, float]:
    """Return what the archive costs, without its functions."""
    kept = figures.archive_days.value * 24 / HOURS_A_MONTH  # months
    sizes = (
        design.archive.rides * figures.archived_ride_bytes.value,
        design.archive.predictions * workload.models * figures.archived_prediction_bytes.value,
    )
    gigabytes = sum(sizes) * workload.rides_per_second * SECONDS_A_MONTH * kept / GB
    objects = sum(count * one.a_second for count, _, one in archives) * SECONDS_A_MONTH
    found = {
        "S3, archive": stored(gigabytes, prices) + objects / 1e6 * prices.s3_put.dollars,
    }
    if design.firehose:
        both = streams.streams(workload.rides_per_second, workload, design, figures)
        archived = (design.archive.rides, design.archive.predictions)
        rate = sum(
            is_archived * one.records * rounded_up(one.record_bytes, FIREHOSE_UNIT)
            for is_archived, one in zip(archived, both, strict=True)
        )
        found["Firehose"] = rate * SECONDS_A_MONTH / GB * prices.firehose.dollars
    return found


def _fixed(workload: Workload, design: Design, prices: Prices, figures: Figures) -> float:
    """Return the dollars a month that do not depend on the number of rides."""
    alarms = figures.alarms.value + (workload.models - 1) * figures.alarms_more.value
    archives = 0 if design.firehose else design.archive.rides + design.archive.predictions
    metrics = workload.models * figures.metrics.value + archives * figures.archive_metrics.value
    return (
        prices.key.dollars
        + alarms * prices.alarm.dollars
        + workload.models * figures.composites.value * prices.composite_alarm.dollars
        + workload.models * prices.dashboard.dollars
        + metrics * prices.metric.dollars
        + figures.image_gb.value * prices.image.dollars
    )


def _faults(
    busiest: Batches, workload: Workload, design: Design, figures: Figures
) -> Iterator[str]:
    if not busiest.keep_up:
        yield "the scorer cannot keep up at the peak"
    if any(not one.keep_up for _, _, one in _archives(workload.highest, workload, design, figures)):
        yield "the archive cannot keep up at the peak"
    for stream in streams.streams(workload.highest, workload, design, figures):
        if stream.readers > streams.READS:
            yield f"more than {streams.READS} functions read the stream of {stream.name}"
