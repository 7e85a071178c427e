"""The names of a mapping, of its stream and of its function."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import NAMESPACE_URL, UUID, uuid5

ACCOUNT, REGION = "123456789012", "us-east-1"


@dataclass(frozen=True, slots=True)
class Identity:
    """The names in the function's events, in messages to the destination, and in keys on S3."""

    stream_arn: str
    function_arn: str
    """With the alias, if the mapping has one."""
    executed_version: str = "$LATEST"

    @property
    def mapping_id(self) -> str:
        """Return the UUID of the mapping; it depends only on the stream and the function."""
        return str(uuid5(NAMESPACE_URL, f"{self.stream_arn} {self.function_arn}"))

    @property
    def function_name(self) -> str:
        return self.function_arn.split(":")[6]

    @property
    def region(self) -> str:
        return self.stream_arn.split(":")[3]

    @property
    def role_arn(self) -> str:
        """Return the ARN of the function's execution role, which has the name of the function."""
        account = self.stream_arn.split(":")[4]
        return f"arn:aws:iam::{account}:role/{self.function_name}"

    def request_id(self, number: int) -> str:
        """Return the mapping's request id with the number *number*."""
        return str(uuid5(UUID(self.mapping_id), str(number)))


def identity(
    stream: str, function: str, *, region: str = REGION, account: str = ACCOUNT
) -> Identity:
    """Return the identity of a mapping between a stream and a function with these names.

    >>> identity("rides", "scorer").function_arn
    'arn:aws:lambda:us-east-1:123456789012:function:scorer'
    """
    return Identity(
        f"arn:aws:kinesis:{region}:{account}:stream/{stream}",
        f"arn:aws:lambda:{region}:{account}:function:{function}",
    )
