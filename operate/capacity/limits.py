"""AWS's default limits, and the loads at which a design reaches them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import sqrt

from .design import Mode
from .estimate import Estimate, estimate
from .figures import FIGURES

KINESIS = "https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html"
KINESIS_MODES = "https://docs.aws.amazon.com/streams/latest/dev/how-do-i-size-a-stream.html"
RESHARDING = "https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateShardCount.html"
PRECISION = 1.001
LAMBDA = "https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"


@dataclass(frozen=True, slots=True)
class Limit:
    """A default limit of AWS."""

    name: str
    most: float
    used: Callable[[Estimate], float]
    """Returns how much of it a design uses."""
    remedy: str
    source: str

    def share(self, one: Estimate) -> float:
        """Return the used share of the limit; above 1, AWS refuses something."""
        return self.used(one) / self.most


def _on_demand(one: Estimate) -> bool:
    return one.design.mode is not Mode.PROVISIONED


def _records(one: Estimate) -> float:
    """Return the records a second of the busier on-demand stream, at the peak."""
    return one.workload.highest * max(1, one.workload.models) if _on_demand(one) else 0.0


def _written(one: Estimate) -> float:
    """Return the bytes a second that are written to the busier on-demand stream, at the peak."""
    load = one.workload
    size = max(load.record_bytes, load.models * FIGURES.prediction_bytes.value)
    return load.highest * size if _on_demand(one) else 0.0


def _shards(one: Estimate) -> float:
    return 0.0 if _on_demand(one) else one.shards + one.prediction_shards


LIMITS = (
    Limit(
        "10 concurrent executions in a new account",
        10,
        lambda one: one.concurrency,
        "ask for the usual quota of 1,000 before the first release",
        LAMBDA,
    ),
    Limit(
        "4,000 records a second on a new on-demand stream",
        4000,
        _records,
        "raise the load over hours, at most to double within 15 minutes; or begin with provisioned"
        " shards; or set a warm throughput (on-demand advantage)",
        KINESIS_MODES,
    ),
    Limit(
        "1,000 concurrent executions in an account",
        1000,
        lambda one: one.concurrency,
        "ask for a higher quota; provisioned streams need fewer executions than on-demand ones",
        LAMBDA,
    ),
    Limit(
        "200 MB a second on an on-demand stream, outside us-east-1, us-west-2 and eu-west-1",
        200e6,
        _written,
        "ask AWS for up to 10 GB a second, as in the other three regions",
        KINESIS,
    ),
    Limit(
        "1,000 shards in an account, in some regions (not in us-east-1)",
        1000,
        _shards,
        "ask for a higher quota",
        KINESIS,
    ),
    Limit(
        "1,024 times the shards within a day (`UpdateShardCount` doubles them, ten times a day)",
        1024,
        lambda one: 0.0 if _on_demand(one) else one.shards,
        "begin with more than one shard, or days before",
        RESHARDING,
    ),
    Limit(
        "10,000 shards of a stream (`UpdateShardCount`)",
        10_000,
        lambda one: 0.0 if _on_demand(one) else max(one.shards, one.prediction_shards),
        "ask for a higher limit, or split the rides between several stacks",
        RESHARDING,
    ),
    Limit(
        "20,000 shards in an account",
        20_000,
        _shards,
        "ask for a higher quota",
        KINESIS,
    ),
)


def exceeded(one: Estimate) -> list[Limit]:
    """Return the default limits that a design exceeds, the one that breaks first at the front."""
    found = [limit for limit in LIMITS if limit.share(one) > 1]
    return sorted(found, key=lambda limit: breaking_load(limit, one))


def breaking_load(limit: Limit, one: Estimate) -> float:
    """Return the rides a second from which the design of *one* exceeds *limit*.

    The result is 0 if the design exceeds it at any load.  *one* must exceed it.
    """

    def breaks(rides: float) -> bool:
        workload = replace(one.workload, rides_per_second=rides)
        return limit.share(estimate(workload, one.design)) > 1

    low, high = 1e-3, one.workload.rides_per_second
    if breaks(low):
        return 0.0
    while high / low > PRECISION:
        middle = sqrt(low * high)
        low, high = (low, middle) if breaks(middle) else (middle, high)
    return high
