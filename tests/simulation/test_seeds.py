"""Fixed seeds of the simulator: the same runs on every commit.

The runs are small, with a few batches each, so that five thousand of them take seconds.  New seeds
and large runs belong to the scheduled workflow and to ``make simulate``.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator

import pytest

from simulation.faults import PUT_OBJECT_FAULTS, PUT_RECORDS_FAULTS
from simulation.search import Summary, run_seeds

SEEDS = 5_000
PARTS = 10


@pytest.fixture(scope="module", autouse=True)
def no_warnings() -> Iterator[None]:
    """The service warns of each injected fault."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def total() -> Summary:
    return Summary()


@pytest.mark.parametrize("part", range(PARTS))
def test_no_law_is_violated(part: int, total: Summary) -> None:
    size = SEEDS // PARTS

    found = run_seeds(range(part * size, (part + 1) * size), small=True, bug="")
    total.add(found)

    assert found.failing == []
    assert found.seeds == size


def test_the_runs_have_every_kind_of_fault(total: Summary) -> None:
    wanted = {f"PutRecords: {kind}" for kind in PUT_RECORDS_FAULTS}
    wanted |= {f"PutObject: {kind}" for kind in PUT_OBJECT_FAULTS}
    wanted |= {"PutRecords: unavailable", "PutObject: unavailable", "the function is killed"}
    wanted |= {"the invocation is throttled", "the function's answer is lost"}

    assert wanted <= set(Counter(total.faults))
    assert total.onnx == SEEDS // 10


def test_most_records_are_published_and_some_are_rejected_or_given_up(total: Summary) -> None:
    assert total.published > total.sent / 2
    assert total.kept > 0
    assert total.at_destination > 0
    assert total.duplicates > 0
