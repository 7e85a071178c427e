"""Everything this package raises on purpose.

* ServiceError
  x SettingsError   the environment is wrong        -> refuse to start
  x ModelError      the model is wrong              -> refuse to start, or fail the batch
  x EventError      the invocation is no batch      -> tell whoever invoked
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
    """The function was invoked with something that is not a batch of Kinesis records."""


class RideRejected(ServiceError):
    """A ride event that no retry will fix.

    The message names the field and the rule, never the value, so that it is safe to log
    and to send back to a caller.
    """
