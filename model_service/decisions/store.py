"""Keeps waiting predictions and decisions in a DynamoDB table, one item a ride.

An item has these attributes:

* ``ride``: the partition key, the ride id as text, since 256 and "256" are the same ride;
* ``waiting`` and ``revision``: the predictions of an incomplete ride, and the number of writes;
* ``decision``: the decision event, compressed by zlib so that the item stays below 1 KB;
* ``slot`` and ``deadline``: the key of the index `INDEX`, in seconds since 1970.  Only an item that
  the sweep has to look at has them, so the index has nothing else.  A partition of an index takes
  a limited number of writes a second, so its items are divided among `SLOTS` partitions;
* ``expires``: when DynamoDB may delete the item, in seconds since 1970.

Every write has a condition: the item of a ride is replaced only if it is still as the writer saw
it, and a decision is never replaced.  A refused write returns the item, so nothing is read first.
"""

from __future__ import annotations

import logging
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from ..errors import SettingsError
from .decision import Decided, State, Waiting
from .predictions import Prediction

INDEX = "due"
SLOTS = 8
RETENTION_SECONDS = 14 * 24 * 60 * 60
"""How long a decision is kept: twice the longest time for which Lambda delivers a record again."""

CONDITION_FAILED = "ConditionalCheckFailedException"
NO_ANSWER = "NoAnswer"  # as the publisher counts it: the reply is not from AWS

logger = logging.getLogger(__name__)


class DynamoDB(Protocol):
    """The part of boto3's DynamoDB client that this module uses."""

    def put_item(self, **arguments: Any) -> Any: ...

    def get_item(self, **arguments: Any) -> Any: ...

    def query(self, **arguments: Any) -> Any: ...

    def update_item(self, **arguments: Any) -> Any: ...


class StoreError(Exception):
    """DynamoDB did not answer, or refused a call.

    The message is an error code, or the name of an exception.
    """


@dataclass(frozen=True, slots=True)
class Due:
    """A ride whose deadline has passed, as the index has it."""

    ride: str
    state: Waiting | Decided


def connect(table: str) -> Table:
    """Return the store in the table named *table*.

    Raises `SettingsError` if the region, the profile or the endpoint is missing or wrong.
    """
    import boto3
    from botocore.config import Config

    quick = Config(
        connect_timeout=1,
        read_timeout=2,
        retries={"mode": "standard", "total_max_attempts": 3},
        tcp_keepalive=True,
        parameter_validation=False,  # unnecessary: this module builds all parameters
    )
    try:
        return Table(boto3.client("dynamodb", config=quick), table)
    except (BotoCoreError, ValueError) as exc:  # ValueError: an endpoint
        check = "check AWS_DEFAULT_REGION, AWS_PROFILE and AWS_ENDPOINT_URL"
        raise SettingsError(f"cannot use DynamoDB ({check}): {exc}") from None


@dataclass(frozen=True, slots=True)
class Table:
    """The store.  It is a class because it holds a client.

    Its methods raise `StoreError` if DynamoDB fails.
    """

    client: DynamoDB
    name: str
    clock: Callable[[], float] = time.time

    def replace(self, ride: str, before: State, after: Waiting | Decided) -> State:
        """Replace the state *before* of *ride* by *after*; return the state in the table then.

        That is *after*, unless the table has another state than *before*.
        """
        try:
            self._call(
                self.client.put_item,
                Item=self._item(ride, after),
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **_condition(before),
            )
        except StoreError as exc:
            if str(exc) != CONDITION_FAILED or not isinstance(exc.__cause__, ClientError):
                raise
            return _refused_item(exc.__cause__)
        return after

    def find(self, ride: str) -> State:
        """Return the state of *ride*."""
        reply = self._call(self.client.get_item, Key={"ride": {"S": ride}}, ConsistentRead=True)
        return state_of(reply.get("Item") or {})

    def due(self, now: float) -> Iterator[Due]:
        """Yield the rides whose deadline is not after *now*, in seconds since 1970."""
        for slot in range(SLOTS):
            start: dict[str, Any] = {}
            while True:
                page = self._call(
                    self.client.query,
                    IndexName=INDEX,
                    KeyConditionExpression="slot = :slot AND deadline <= :now",
                    ExpressionAttributeValues={":slot": _number(slot), ":now": _number(int(now))},
                    **start,
                )
                for item in page.get("Items", []):
                    state = state_of(item)
                    if state is not None:
                        yield Due(item["ride"]["S"], state)
                if not page.get("LastEvaluatedKey"):
                    break
                start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def published(self, ride: str) -> None:
        """Remove a decided ride from the index, because its decision has been published."""
        try:
            self._call(
                self.client.update_item,
                Key={"ride": {"S": ride}},
                UpdateExpression="REMOVE slot, deadline",
                ConditionExpression="attribute_exists(decision)",  # it may have expired
            )
        except StoreError as exc:
            if str(exc) != CONDITION_FAILED:
                raise

    def _item(self, ride: str, state: Waiting | Decided) -> dict[str, Any]:
        item: dict[str, Any] = {
            "ride": {"S": ride},
            "expires": _number(int(self.clock()) + RETENTION_SECONDS),
        }
        if isinstance(state, Waiting):
            item["waiting"] = {"B": msgspec.json.encode(state.predictions)}
            item["revision"] = _number(state.revision)
            deadline: int | None = state.deadline
        else:
            item["decision"] = {"B": zlib.compress(state.body, 9)}
            deadline = state.unpublished_since
        if deadline is not None:
            item |= {"slot": _number(zlib.crc32(ride.encode()) % SLOTS)}
            item |= {"deadline": _number(deadline)}
        return item

    def _call(self, call: Callable[..., Any], **arguments: Any) -> Any:
        """Return the reply of DynamoDB to *call*.

        A reply counts only if it states the capacity that the call took, because a proxy may answer
        with any 200.
        """
        try:
            reply = call(TableName=self.name, ReturnConsumedCapacity="TOTAL", **arguments)
            is_dynamodb = bool(reply.get("ConsumedCapacity"))
        except ClientError as exc:
            raise StoreError(_code(exc)) from exc
        except Exception as exc:  # the SDK may raise anything if the reply is not DynamoDB's
            raise StoreError(type(exc).__name__) from exc
        if not is_dynamodb:
            raise StoreError(NO_ANSWER)
        return reply


def state_of(item: dict[str, Any]) -> State:
    """Return the state in *item*, a DynamoDB item; None if it is empty."""
    deadline = int(item["deadline"]["N"]) if "deadline" in item else None
    if "decision" in item:
        return Decided(zlib.decompress(item["decision"]["B"]), deadline)
    if "waiting" in item:
        predictions = msgspec.json.decode(item["waiting"]["B"], type=tuple[Prediction, ...])
        return Waiting(predictions, deadline or 0, int(item["revision"]["N"]))
    return None


def _condition(before: State) -> dict[str, Any]:
    """Return the condition that the item is still in the state *before*."""
    if isinstance(before, Waiting):
        return {
            "ConditionExpression": "revision = :revision",
            "ExpressionAttributeValues": {":revision": _number(before.revision)},
        }
    return {"ConditionExpression": "attribute_not_exists(ride)"}


def _refused_item(exc: ClientError) -> State:
    """Return the state of the item that a condition refused; None if it is gone by now."""
    response: dict[str, Any] = {**exc.response}
    return state_of(response.get("Item") or {})


def _number(value: int) -> dict[str, str]:
    return {"N": str(value)}


def _code(exc: ClientError) -> str:
    return str(exc.response.get("Error", {}).get("Code"))
