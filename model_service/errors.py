"""Every exception that this package raises on purpose.

* ServiceError
  x SettingsError     a setting is missing or malformed  -> refuse to start
  x ModelError        the model is at fault              -> refuse to start, or fail the batch
  x EventError        an invocation has the wrong shape  -> tell the caller
  x FileError         a file of rides cannot be read     -> report it, go on with the next file
  x OutputError       results cannot be written          -> report it and stop
  * RideRejected      a ride event breaks a rule         -> count it, keep it, never retry it
    x MalformedJson   its bytes are not a JSON document
"""

from __future__ import annotations


class ServiceError(Exception):
    """Base class; never raised itself."""


class SettingsError(ServiceError):
    """One or more environment variables are missing or malformed; the message names each."""


class ModelError(ServiceError):
    """The model cannot be loaded, is not trusted, or broke its contract."""


class EventError(ServiceError):
    """An invocation is not a batch of Kinesis records, or not a scheduled event."""


class FileError(ServiceError):
    """A file of rides cannot be read, or holds no rides."""


class OutputError(ServiceError):
    """Output files cannot be written."""


class RideRejected(ServiceError):
    """A ride event that no retry will fix.

    The message names the field and the rule, never the value, so that it is safe to log
    and to send back to a caller.
    """


class MalformedJson(RideRejected):
    """Bytes that are not a JSON document."""
