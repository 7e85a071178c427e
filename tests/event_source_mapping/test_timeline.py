"""The timeline tells a run in lines that need no other knowledge."""

from __future__ import annotations

import base64
from typing import Any

from event_source_mapping.pytest_plugin import KinesisMapping


def raises_on_bad(event: dict[str, Any], context: Any) -> None:
    if any(base64.b64decode(r["kinesis"]["data"]) == b"bad" for r in event["Records"]):
        raise ValueError("no JSON")


def test_a_split_is_told_line_by_line(kinesis_mapping: KinesisMapping) -> None:
    mapping = kinesis_mapping(
        raises_on_bad,
        batch_size=3,
        maximum_retry_attempts=1,
        bisect_batch_on_function_error=True,
        faults="handler is throttled once, then works",
    )
    for data in ("1", "bad", "3"):
        mapping.put(data)
    mapping.run()

    told = mapping.timeline().split("\n\n")

    assert told[0].splitlines() == [
        "   seconds  shard  records                 step",
        "     0.000      0                          opened: read from its oldest record",
        "     0.000      0  1-3                     function invoked with 3 records",
        "     0.000      0  1-3                     did not reach the function, which spends no"
        " retry; next attempt in 0.2 s",
        "     0.200      0  1-3                     function invoked with 3 records",
        "     0.200      0  1-3                     failed: ValueError: no JSON",
        "     0.200      0  1-3                     split to find the bad record: half 1 now, half"
        " 2-3 after it",
        "     0.200      0    1                     function invoked with 1 record",
        "     0.200      0    1                     processed",
        "     0.200      0                          checkpoint: all records up to 1 are resolved",
        "     0.200      0    2-3                   function invoked with 2 records",
        "     0.200      0    2-3                   failed: ValueError: no JSON",
        "     0.200      0    2-3                   split to find the bad record: half 2 now, half"
        " 3 after it",
        "     0.200      0      2                   function invoked with 1 record",
        "     0.200      0      2                   failed: ValueError: no JSON",
        "     0.200      0      2                   next attempt in 0.2 s",
        "     0.400      0      2                   function invoked with 1 record, attempt 2 with"
        " the same batch",
        "     0.400      0      2                   failed: ValueError: no JSON",
        "     0.400      0      2                   given up after 2 attempts: LOST",
        "     0.400      0                          checkpoint: all records up to 2 are resolved",
        "     0.400      0      3                   function invoked with 1 record",
        "     0.400      0      3                   processed",
        "     0.400      0                          checkpoint: all records up to 3 are resolved",
    ]
    assert told[1].startswith("Why a batch is split: a function that fails does not say")
    assert told[2].startswith("What giving up means")


def test_an_unbroken_run_needs_no_explanation(kinesis_mapping: KinesisMapping) -> None:
    mapping = kinesis_mapping(raises_on_bad)
    mapping.put("1")
    mapping.run()

    assert "\n\n" not in mapping.timeline()
