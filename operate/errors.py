"""What these tools raise on purpose.

* OperateError
  x BadInput      what was asked for cannot be    -> one sentence, exit code 2
  x Unreadable    an object that is not of ours   -> leave it alone, and say so
"""

from __future__ import annotations


class OperateError(Exception):
    """Base class; never raised itself."""


class BadInput(OperateError):
    """Something was named that is not there, or may not be used; the message is for the person."""


class Unreadable(OperateError):
    """An object on S3 that holds no records, or is not what it was when it was listed."""
