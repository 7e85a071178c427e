"""Defines every exception that this package raises on purpose.

* ServiceError
  x SettingsError     a setting is missing or malformed  -> refuse to start
  x ModelError        the model is at fault              -> refuse to start, or fail the batch
  x EventError        an invocation is malformed         -> report it to the caller
  x FileError         a file of rides cannot be read     -> report it, go on with the next file
  x OutputError       results cannot be written          -> report it and stop
  * RideRejected      a ride event breaks a rule         -> count it, store it, never retry it
    x MalformedJson   its bytes are not a JSON document
"""

from __future__ import annotations

import re


class ServiceError(Exception):
    """The base class of all exceptions below; never raised itself."""


class SettingsError(ServiceError):
    """Environment variables are missing or malformed; the message names all of them."""


class ModelError(ServiceError):
    """The model cannot be loaded, is not trusted, or gives no usable predictions."""


class EventError(ServiceError):
    """The event of a Lambda invocation is not a batch of Kinesis records or a scheduled event."""


class FileError(ServiceError):
    """A file of rides is missing, cannot be read, or contains no rides."""


class OutputError(ServiceError):
    """Output files cannot be written."""


class RideRejected(ServiceError):
    """A ride event cannot be scored, and will not become valid by a retry.

    The message names the field and the rule, never the value, so it is safe to log the message and
    to send it to the caller.
    """

    @staticmethod
    def kind(reason: str) -> str:
        """Return *reason* without the position of a JSON error, so that equal faults are one kind.

        >>> RideRejected.kind("JSON is malformed: expected ',' (byte 17)")
        "JSON is malformed: expected ','"
        """
        return re.sub(r" \(byte \d+\)", "", reason)

    def detached(self) -> RideRejected:
        """Return a copy of the rejection without a traceback, which can be kept for a long time.

        A traceback keeps the local variables of every stack frame in memory, such as a megabyte of
        unzipped bytes.
        """
        return RideRejected(str(self))


class MalformedJson(RideRejected):
    """The bytes of a ride event are not a JSON document."""
