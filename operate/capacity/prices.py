"""AWS's list prices in us-east-1, each with its source.  Nothing here could be checked on AWS.

The prices are in US dollars, without tax and without the free tier.  A month has 730 hours, and a
GB has 2**30 bytes, as in AWS's own examples.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import ceil, inf

REGION = "us-east-1"
DATE = "2026-11-28"
"""The day on which the sources were read."""

HOURS_A_MONTH = 730
SECONDS_A_MONTH = HOURS_A_MONTH * 3600
KB, MB, GB = 2**10, 2**20, 2**30

KINESIS_PRICES = "https://aws.amazon.com/kinesis/data-streams/pricing/"
FIREHOSE_PRICES = "https://aws.amazon.com/firehose/pricing/"
TREK10 = (
    "https://www.trek10.com/blog/"
    "amazon-kinesis-data-streams-on-demand-vs.-provisioned-billing-mode-cost-comparison"
)
CLOUDCHIPR = "https://cloudchipr.com/blog/aws-lambda-pricing"
LAMBDA_NOTES = (
    "https://git.mcrn.ar/mariano/lambda_local_runner/src/commit/"
    "957e45b8adae23ce50b966346229585b5df18b4d/docs/lambdas-md/lambda-13-cost.md"
)
DEVNOTES = (
    "https://devnotes.tech/understanding-aws-s3-pricing-a-complete-cost-breakdown-with-examples"
)
S3_PRICES = "https://aws.amazon.com/s3/pricing/"
FACTUALMINDS = (
    "https://www.factualminds.com/blog/amazon-cloudwatch-pricing-metrics-logs-alarms-dashboards/"
)
INFRACOST = "https://github.com/vreutova/infracost-idem-support/pull/2"
SIGNOZ = "https://signoz.io/guides/cloudwatch-pricing"
CLOUDWATCH_PRICES = "https://aws.amazon.com/cloudwatch/pricing/"
KMS_PRICES = "https://aws.amazon.com/kms/pricing/"
ECR_PRICES = "https://aws.amazon.com/ecr/pricing/"


@dataclass(frozen=True, slots=True)
class Price:
    """A price, and where it can be read."""

    item: str
    dollars: float
    unit: str
    source: str
    """The page that states it or, if no such page was found, the page of AWS to check."""
    year: str = ""
    """The year of that page, or ``undated``; empty if no page that states the price was found."""

    @property
    def verified(self) -> bool:
        """Whether a page that states the price was read."""
        return bool(self.year)


@dataclass(frozen=True, slots=True)
class Prices:
    """All prices that the calculation needs."""

    shard_hour: Price = Price("Kinesis, a provisioned shard", 0.015, "hour", TREK10, "2023")
    put_unit: Price = Price(
        "Kinesis, written to provisioned streams, in units of 25 KB a record",
        0.014,
        "million units",
        TREK10,
        "2023",
    )
    stream_hour: Price = Price("Kinesis, an on-demand stream", 0.04, "hour", TREK10, "2023")
    ingest: Price = Price(
        "Kinesis, written on demand, each record rounded up to 1 KB", 0.08, "GB", TREK10, "2023"
    )
    retrieval: Price = Price("Kinesis, read on demand", 0.04, "GB", TREK10, "2023")
    advantage_ingest: Price = Price(
        "Kinesis, written with on-demand advantage, each record rounded up to 1 KB",
        0.032,
        "GB",
        KINESIS_PRICES,
    )
    advantage_retrieval: Price = Price(
        "Kinesis, read with on-demand advantage", 0.016, "GB", KINESIS_PRICES
    )
    firehose: Price = Price(
        "Firehose, each record rounded up to 5 KB", 0.029, "GB", FIREHOSE_PRICES
    )
    lambda_request: Price = Price("Lambda, invocations", 0.20, "million", LAMBDA_NOTES, "undated")
    lambda_compute: Price = Price("Lambda, x86_64", 0.0000166667, "GB-second", CLOUDCHIPR, "2024")
    storage: Price = Price(
        "S3, stored, the first 50 TB", 0.023, "GB and month", DEVNOTES, "undated"
    )
    storage_500: Price = Price("S3, stored, the next 450 TB", 0.022, "GB and month", S3_PRICES)
    storage_more: Price = Price("S3, stored, above 500 TB", 0.021, "GB and month", S3_PRICES)
    s3_put: Price = Price("S3, written objects", 5.0, "million", DEVNOTES, "undated")
    logs: Price = Price("CloudWatch, logs", 0.50, "GB", FACTUALMINDS, "2026")
    logs_stored: Price = Price(
        "CloudWatch, logs, stored for a month", 0.03, "GB", INFRACOST, "undated"
    )
    metric: Price = Price("CloudWatch, metrics of the functions", 0.30, "metric", SIGNOZ, "2026")
    alarm: Price = Price("CloudWatch, alarms", 0.10, "metric", INFRACOST, "undated")
    composite_alarm: Price = Price("CloudWatch, composite alarms", 0.50, "alarm", CLOUDWATCH_PRICES)
    dashboard: Price = Price("CloudWatch, dashboards", 3.00, "dashboard", FACTUALMINDS, "2026")
    key: Price = Price("KMS, a key", 1.00, "key", KMS_PRICES)
    image: Price = Price("ECR, images", 0.10, "GB", ECR_PRICES)

    read_rounding: int = 1
    """Bytes to which the size of each record that is read on demand is rounded up."""
    advantage_rate: float = 25 * MB
    """Bytes a second, written and as many read, that on-demand advantage charges at least."""


PRICES = Prices()


def rounded_up(size: float, step: int) -> int:
    """Return *size* rounded up to a multiple of *step*, and to at least one *step*.

    >>> rounded_up(200, 1024), rounded_up(1025, 1024)
    (1024, 2048)
    """
    return max(1, ceil(size / step)) * step


def stored(gigabytes: float, prices: Prices) -> float:
    """Return the dollars for storing *gigabytes* on S3 for a month, by AWS's three tiers."""
    tiers = prices.storage, prices.storage_500, prices.storage_more
    bounds = pairwise([0, 50 * 1024, 500 * 1024, inf])
    return sum(
        tier.dollars * max(0.0, min(gigabytes, high) - low)
        for tier, (low, high) in zip(tiers, bounds, strict=True)
    )
