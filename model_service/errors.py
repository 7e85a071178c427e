"""Everything this package raises on purpose.

* ServiceError
  x SettingsError   the environment is wrong        -> refuse to start
  x ModelError      the model is wrong              -> refuse to start, or fail the batch
  x EventError      what came cannot be read        -> tell whoever sent it
  x FileError       a file of rides cannot be read  -> say so, and go on with the next
  x OutputError     answers cannot be written       -> say so, and stop
  x RideRejected    one ride event is wrong         -> count and keep it, never retry it
"""

from __future__ import annotations


class ServiceError(Exception):
    """Base class; never raised itself."""


class SettingsError(ServiceError):
    """One or more environment variables are missing or malformed; the message names each."""


class ModelError(ServiceError):
    """The model cannot be loaded, is not trusted, or broke its contract."""


class EventError(ServiceError):
    """What came is no batch of Kinesis records, or no JSON where a web request has to be."""


class FileError(ServiceError):
    """A file of rides cannot be read, or holds none."""


class OutputError(ServiceError):
    """Files of answers cannot be written."""


class RideRejected(ServiceError):
    """A ride event that no retry will fix.

    The message names the field and the rule, never the value, so that it is safe to log
    and to send back to a caller.
    """
