"""Describes the decisions of the mapping, for the trace of a run."""

from __future__ import annotations

from collections.abc import Sequence

from event_source_mapping.decisions import (
    Checkpoint,
    Decision,
    Discard,
    Expired,
    Invoke,
    Progressed,
    Retry,
    Split,
    Succeeded,
)
from event_source_mapping.records import Record

from .input_stream import short
from .ledger import Ledger


def shown(decision: Decision, ledger: Ledger, now: float) -> str:
    """Return a few words about *decision*, made at the virtual time *now* (seconds since 1970).

    Records are named by their numbers in *ledger*.
    """

    def numbers(records: Sequence[Record]) -> str:
        found = [ledger.records[record.sequence_number].number for record in records]
        return f"{len(found)} records {found[0]}-{found[-1]}" if found else "no records"

    kind = type(decision).__name__.lower()
    match decision:
        case Checkpoint():
            what = f"{kind} behind {ledger.records[decision.sequence_number].number}"
        case Invoke() | Discard() | Succeeded() | Retry() | Expired():
            what = f"{kind} request {decision.request} with {numbers(decision.records)}"
            if isinstance(decision, Retry):
                what += f" in {decision.at - now:.1f} s"
        case Progressed():
            what = f"progressed by {numbers(decision.done)}"
        case Split():
            what = f"{kind} into {numbers(decision.left)} and {numbers(decision.right)}"
        case _:
            what = kind
    return f"{short(decision.shard_id)}: {what}"
